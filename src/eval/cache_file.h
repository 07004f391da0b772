#pragma once

#include "ddpm/io/safetensors.h"

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

/// Writes tensors into a cache file, with a checksum over names, types, shapes and values.
void write_cached(const std::filesystem::path& file, const std::vector<io::NamedTensor>& tensors,
                  io::Metadata metadata);

/// The tensors by name. Empty if the file does not exist; also, after a warning, if it is damaged
/// or lacks one of `names`.
std::optional<std::map<std::string, torch::Tensor>> read_cached(
    const std::filesystem::path& file, const std::vector<std::string>& names);

}  // namespace ddpm::eval
