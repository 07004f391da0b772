#pragma once

#include "ddpm/io/torch_file.h"

#include <functional>
#include <memory>
#include <span>

namespace ddpm::io {

/// The memory of a tensor: its bytes, maybe filled in later, as uint8 [elements * size of type]. If
/// the type is Undefined, the memory is not used: undefined, or an IoError if it cannot be skipped.
using StorageLoader =
    std::function<torch::Tensor(const std::string& key, torch::ScalarType type, int64_t elements)>;

/// What becomes of numpy's arrays of bytes, in row-major order: all others are opaque.
enum class NumpyArrays { kOpaque, kTensors };

/// Interprets the pickle at the beginning of `bytes` and removes it from them. `name` is the file's
/// name in errors. Throws IoError.
TorchValue unpickle(std::span<const uint8_t>& bytes, const std::string& name,
                    const StorageLoader& storage, NumpyArrays arrays = NumpyArrays::kOpaque);

/// The pickle of a state dict, whose tensors' memories have the keys "0", "1", ...
std::string pickle_state_dict(const std::vector<NamedTensor>& tensors);

}  // namespace ddpm::io
