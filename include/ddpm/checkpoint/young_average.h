#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace ddpm::checkpoint {

/// "after 500 steps the average of decay 0.9999 still is 95 % the weights that training began
/// with"; "" if it is that to no more than nn::kYoungShare.
std::string young_average(double decay, bool warmup, int64_t steps);

/// The same of a checkpoint's `weights`: "raw", "ema", "ema-2", ...
std::string young_average(const std::filesystem::path& checkpoint, const std::string& weights);

}  // namespace ddpm::checkpoint
