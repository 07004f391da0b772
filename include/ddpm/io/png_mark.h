#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include <torch/types.h>

namespace ddpm::io {

/// A PNG with a text chunk that says which command of this program made it ("ddpm sample"), so that a
/// later call may replace it. `png`: as encode_png makes it.
std::vector<uint8_t> marked(const std::vector<uint8_t>& png, std::string_view command);

/// Has the file that chunk, of any command? false if it cannot be read.
bool is_marked(const std::filesystem::path& file);

/// Writes chw_u8 (uint8 [C,H,W], C = 1 to 4) with the mark of `command`, by replace_file. Throws
/// IoError.
void write_marked_png(const std::filesystem::path& file, const torch::Tensor& chw_u8,
                      std::string_view command);

}  // namespace ddpm::io
