#pragma once

#include "ddpm/sample/generate.h"

#include <filesystem>

namespace ddpm::sample {

/// Reads the noise of a .safetensors into the options: x_T [N,C,H,W], and z [S,N,C,H,W] if it holds
/// one. Throws IoError if x_T is missing or has no images, and if a number is NaN or infinite.
void read_noise_(const std::filesystem::path& path, GenerateOptions& options);

}  // namespace ddpm::sample
