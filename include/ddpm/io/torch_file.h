#pragma once

#include "ddpm/io/file.h"
#include "ddpm/io/safetensors.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <torch/types.h>

// Files of Python's torch.save (.pt, .pth, .bin, .ckpt): a zip archive with the values as a pickle
// and the tensors' memory beside it; before torch 1.6, several pickles and the memory in one plain
// file. A pickle is a program for a stack machine that can call any Python function. Our
// interpreter knows lists, dicts, numbers, strings and tensors, and runs no code: other objects
// stay names.

namespace ddpm::io {

/// A value in such a file.
struct TorchValue {
  // Defined in torch_file.cpp, after the type is complete: `entries` holds pairs of it.
  TorchValue();
  TorchValue(const TorchValue&);
  TorchValue(TorchValue&&) noexcept;
  TorchValue& operator=(const TorchValue&);
  TorchValue& operator=(TorchValue&&) noexcept;
  ~TorchValue();

  enum class Kind {
    kNone,
    kBool,  ///< `integer` is 0 or 1
    kInteger,
    kReal,
    kText,
    kList,  ///< list, tuple or set: `items`
    kDict,  ///< `entries` in their order; integer keys in decimal
    kTensor,
    kOpaque,  ///< anything else: `text` names it; no object was made and no function called
  };
  Kind kind = Kind::kNone;
  int64_t integer = 0;
  double real = 0;
  std::string text;
  torch::Tensor tensor;  ///< on the CPU, maybe strided; may share memory with others of the file
  std::vector<TorchValue> items;
  std::vector<std::pair<std::string, TorchValue>> entries;

  bool is_list() const { return kind == Kind::kList; }
  bool is_dict() const { return kind == Kind::kDict; }
  bool is_tensor() const { return kind == Kind::kTensor; }
  bool is_opaque() const { return kind == Kind::kOpaque; }
  /// A dict's value; nullptr if it has no such key.
  const TorchValue* find(std::string_view key) const;
};

/// Whether the file begins like one of torch.save. False if it cannot be read.
bool is_torch_file(const std::filesystem::path& path);

/// Reads one. Safe for untrusted files: throws IoError if it is damaged or nests deeper than 64
/// levels, and allocates at most a small multiple of the file's size. Skips entries of dicts whose
/// keys are neither strings nor integers.
TorchValue read_torch_file(const std::filesystem::path& path);

/// Writes tensors as a state dict that Python's torch.load(path, weights_only=True) reads: a zip
/// archive with row-major CPU tensors, aligned to 64 bytes. `notes` are stored as files of the
/// archive that Python ignores. Replaces the file atomically. Throws IoError, also beyond 4 GiB.
FileSum write_torch_file(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                         const Metadata& notes = {});

/// A note of such a file, if it has one of this name. Throws IoError.
std::optional<std::string> torch_file_note(const std::filesystem::path& path,
                                           const std::string& name);

/// Reads a file of Python's pickle.dump, protocol 2 or later, as safely as a torch file. numpy's arrays
/// of uint8 are tensors. Throws IoError, also for a file above 1 GiB.
TorchValue read_pickle_file(const std::filesystem::path& path);

}  // namespace ddpm::io
