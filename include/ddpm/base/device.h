#pragma once

#include <string>

#include <torch/types.h>

namespace ddpm {

/// Maps "auto", "cpu", "cuda" or "cuda:1" to an existing device; "auto" is the first GPU, if there
/// is one. Throws UsageError.
torch::Device parse_device(const std::string& name);

}  // namespace ddpm
