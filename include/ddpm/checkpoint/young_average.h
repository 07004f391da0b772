#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace ddpm::checkpoint {

/// A warning: "after 500 steps the average of decay 0.9999 still is 95 % the weights that training
/// began with". "" if the initial weights' share is at most nn::kYoungShare.
std::string young_average(double decay, bool warmup, int64_t steps);

/// The same for a checkpoint's `weights`: "raw", "ema", "ema-2", ...
std::string young_average(const std::filesystem::path& checkpoint, const std::string& weights);

}  // namespace ddpm::checkpoint
