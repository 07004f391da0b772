#pragma once

#include "ddpm/io/safetensors.h"

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

/// Tensors in a file that can be made anew: with a checksum over names, types, shapes and values.
void write_cached(const std::filesystem::path& file, const std::vector<io::NamedTensor>& tensors,
                  io::Metadata metadata);

/// The tensors by name; nothing if there is no such file, or, after a warning, if it is damaged or
/// lacks one of `names`.
std::optional<std::map<std::string, torch::Tensor>> read_cached(
    const std::filesystem::path& file, const std::vector<std::string>& names);

}  // namespace ddpm::eval
