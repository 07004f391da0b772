#pragma once

#include "ddpm/io/torch_file.h"
#include "pickle_bytes.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::io {

inline constexpr size_t kMaxNodes = size_t{1} << 20;  // per pickle; 10,000 tensors take 200,000

/// A value under construction. Nodes refer to each other, maybe in cycles; the machine owns them
/// all.
struct PickleNode {
  enum class Kind {
    kNone,
    kBool,
    kInteger,
    kReal,
    kText,
    kList,
    kTuple,
    kDict,  // items: key, value, key, value, ...
    kTensor,
    kStorage,
    kStorageType,
    kFunction,  // text: which of the known ones
    kDtype,     // text: numpy's name of a type, as "u1"
    kArray,     // an array of numpy's before its contents are known
    kOpaque,    // text: what it is, for people
  };
  Kind kind = Kind::kNone;
  int64_t integer = 0;
  double real = 0;
  std::string text;
  std::vector<PickleNode*> items;
  torch::Tensor tensor;  // of a storage: uint8
  torch::ScalarType type = torch::kByte;
};

/// The value of `root` as a tree. Shared nodes are copied, at most kMaxNodes in total. Throws
/// IoError by `bytes` if it is too deep.
TorchValue tree_of(const PickleNode& root, const PickleBytes& bytes);

/// The tensor at `offset` in `memory`, or none if it reaches beyond it.
std::optional<torch::Tensor> tensor_in(const torch::Tensor& memory, int64_t offset,
                                       const std::vector<int64_t>& sizes,
                                       const std::vector<int64_t>& strides);

/// torch's class name for the memory of a type.
struct StorageTypeName {
  const char* storage;
  torch::ScalarType type;
};
inline constexpr std::array<StorageTypeName, 10> kStorageTypes = {
    {{"DoubleStorage", torch::kDouble},
     {"FloatStorage", torch::kFloat},
     {"HalfStorage", torch::kHalf},
     {"BFloat16Storage", torch::kBFloat16},
     {"LongStorage", torch::kLong},
     {"IntStorage", torch::kInt},
     {"ShortStorage", torch::kShort},
     {"CharStorage", torch::kChar},
     {"ByteStorage", torch::kByte},
     {"BoolStorage", torch::kBool}}};

}  // namespace ddpm::io
