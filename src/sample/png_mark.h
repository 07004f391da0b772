#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace ddpm::sample {

/// A PNG with a text chunk that says it was made by `ddpm sample`, so that a later call may replace
/// it. `png`: as io::encode_png makes it.
std::vector<uint8_t> marked(const std::vector<uint8_t>& png);

/// Has the file that chunk? false if it cannot be read.
bool is_marked(const std::filesystem::path& file);

}  // namespace ddpm::sample
