#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <torch/types.h>

namespace ddpm::io {

/// A text in a PNG (PNG specification, third edition, 11.3.3).
struct PngText {
  std::string keyword;  ///< 1 to 79 characters of Latin-1
  std::string text;     ///< UTF-8
  bool operator==(const PngText&) const = default;
};

/// The PNG with these texts (iTXt) before its pixels. Its pixels stay. `png`: as encode_png or
/// encode_apng makes it.
std::vector<uint8_t> with_png_texts(const std::vector<uint8_t>& png,
                                    const std::vector<PngText>& texts);

/// The texts of a PNG in their order: tEXt, zTXt and iTXt. One that is damaged, or of more than
/// 1 MiB, is passed over. Throws IoError(name, ...) if the bytes are not a complete PNG.
std::vector<PngText> png_texts(std::span<const uint8_t> bytes, const std::string& name);

/// Whether the file begins like a PNG; false if it cannot be read.
bool begins_like_png(const std::filesystem::path& file);

/// A PNG with a text chunk that says which command of this program made it ("ddpm sample"), so that a
/// later call may replace it. `png`: as encode_png makes it.
std::vector<uint8_t> marked(const std::vector<uint8_t>& png, std::string_view command);

/// Has the file that chunk, of any command? false if it cannot be read.
bool is_marked(const std::filesystem::path& file);

/// Writes chw_u8 (uint8 [C,H,W], C = 1 to 4) with the mark of `command`, by replace_file. Throws
/// IoError.
void write_marked_png(const std::filesystem::path& file, const torch::Tensor& chw_u8,
                      std::string_view command);

/// An animated PNG (PNG specification, third edition, sections 11.3.6 and 13) that repeats for ever.
/// frames: uint8 [N,C,H,W], N >= 1, C = 1 to 4 (2: grey and alpha). seconds: how long each is shown,
/// N numbers from 0 to 65; kept to a millisecond. still: uint8 [C,H,W], the image that programs
/// without animation show, not a frame itself; if undefined, they show the first frame.
std::vector<uint8_t> encode_apng(const torch::Tensor& frames, const std::vector<double>& seconds,
                                 const torch::Tensor& still = {});

}  // namespace ddpm::io
