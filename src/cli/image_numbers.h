#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ddpm::cli {

/// Numbers of images from a flag's text, as 3 or 0-4,7: ascending, below `count`. Throws UsageError,
/// which names the flag.
std::vector<int64_t> image_numbers(const std::string& flag, const std::string& text, int64_t count);

/// The same numbers as such a text. images: ascending.
std::string text_of_numbers(const std::vector<int64_t>& images);

}  // namespace ddpm::cli
