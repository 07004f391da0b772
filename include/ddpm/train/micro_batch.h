#pragma once

#include <cstdint>
#include <functional>

#include <torch/types.h>

namespace ddpm::train {

/// Finds a number of images for which `attempt` does not run out of memory. Tries `first`, which
/// must divide `share`, then the largest divisor of `share` at or below half of it, and so on. Logs
/// each failure. Does not catch other exceptions. Throws Error if one image does not fit.
int64_t largest_that_fits(int64_t share, int64_t first, const torch::Device& device,
                          const std::function<void(int64_t count)>& attempt);

/// Whether the exception means that the device or the machine is out of memory.
bool is_out_of_memory(const std::exception& error);

}  // namespace ddpm::train
