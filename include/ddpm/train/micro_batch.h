#pragma once

#include <cstdint>
#include <functional>

#include <torch/types.h>

namespace ddpm::train {

/// The largest number of images for which `attempt` does not run out of memory: `first`, or the
/// next divisor of `share` at or below half of it, and so on. Logs each failure. `first` divides
/// `share`. Other exceptions of `attempt` are not caught. Throws Error if not even one image fits.
int64_t largest_that_fits(int64_t share, int64_t first, const torch::Device& device,
                          const std::function<void(int64_t count)>& attempt);

/// Whether the exception means that the device's or the machine's memory is full.
bool is_out_of_memory(const std::exception& error);

}  // namespace ddpm::train
