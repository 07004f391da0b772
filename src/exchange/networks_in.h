#pragma once

#include "ddpm/io/torch_file.h"
#include "state_dict.h"

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

// Which network of a file is meant: files hold weights in dicts of dicts, under the prefixes of the
// wrappers that a training program put around its network, raw and averaged.

namespace ddpm::exchange {

/// A dict of tensors somewhere in a file.
struct TensorDict {
  std::vector<std::string> path;  ///< its keys, from the outside in
  std::vector<io::NamedTensor> tensors;
  std::vector<std::pair<std::string, std::string>> opaque;  ///< name and what it is, if no tensor
};

/// All of them, without prefixes of torch.compile and similar ("_orig_mod").
std::vector<TensorDict> tensor_dicts(const io::TorchValue& value);
TensorDict tensor_dict(std::vector<io::NamedTensor> tensors);

/// The one network of a known family among them, with its names without prefix. `weights` chooses
/// between raw and averaged ones ("raw", "ema", "" for the averaged if there is one). If no family
/// is known: the one dict of tensors, unchanged. Throws IoError if there is none, and UsageError if
/// there are several or none has that name.
StateDict choose_network(const std::vector<TensorDict>& dicts, const std::string& weights,
                         const std::filesystem::path& file);

/// The same in a file that is one dict.
StateDict network_in(std::vector<io::NamedTensor> tensors, const std::string& weights,
                     const std::filesystem::path& file);

/// Throws IoError for a network of no known family, with examples of its names.
[[noreturn]] void refuse_unknown_network(std::vector<io::NamedTensor> tensors,
                                         const std::filesystem::path& file);

}  // namespace ddpm::exchange
