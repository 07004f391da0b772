#pragma once

#include "ddpm/io/torch_file.h"
#include "state_dict.h"

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

// Selects a network in a file. Files contain weights in nested dicts, raw and EMA, with prefixes
// from the wrappers of the training program.

namespace ddpm::exchange {

/// A dict of tensors somewhere in a file.
struct TensorDict {
  std::vector<std::string> path;  ///< its keys, outermost first
  std::vector<io::NamedTensor> tensors;
  std::vector<std::pair<std::string, std::string>> opaque;  ///< names and types of other values
};

/// All dicts of tensors, without prefixes of torch.compile and similar ("_orig_mod").
std::vector<TensorDict> tensor_dicts(const io::TorchValue& value);
TensorDict tensor_dict(std::vector<io::NamedTensor> tensors);

/// The only network of a known family among `dicts`, with names without prefix. `weights` selects
/// "raw" or "ema"; "" selects the EMA weights if there are any. If no family is known: the only
/// dict of tensors, unchanged. Throws IoError if there is none, and UsageError if there are several
/// or none has that name.
StateDict choose_network(const std::vector<TensorDict>& dicts, const std::string& weights,
                         const std::filesystem::path& file);

/// The same for a file with one dict.
StateDict network_in(std::vector<io::NamedTensor> tensors, const std::string& weights,
                     const std::filesystem::path& file);

/// Throws IoError for a network of an unknown family, with examples of its names.
[[noreturn]] void refuse_unknown_network(std::vector<io::NamedTensor> tensors,
                                         const std::filesystem::path& file);

}  // namespace ddpm::exchange
