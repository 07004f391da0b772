#pragma once

#include <cstdint>
#include <functional>

#include <torch/types.h>

namespace ddpm::train {

/// The largest number of images that `attempt` gets through without running out of memory: `first`,
/// or the divisor of `share` at or below half of what failed before, and so on; each failure is
/// logged. `first` divides `share`. What else `attempt` throws is not caught. Throws Error where
/// not even one image fits.
int64_t largest_that_fits(int64_t share, int64_t first, const torch::Device& device,
                          const std::function<void(int64_t count)>& attempt);

/// Does an exception say that a device's memory, or the machine's, does not suffice?
bool is_out_of_memory(const std::exception& error);

}  // namespace ddpm::train
