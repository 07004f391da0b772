#pragma once

#include <array>
#include <cstdint>

#include <torch/types.h>

namespace ddpm::dist {

/// Globally unique identifier of a GPU: its UUID. Zeros for a CPU.
std::array<int64_t, 2> gpu_id(const torch::Device& device);

}  // namespace ddpm::dist
