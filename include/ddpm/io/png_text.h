#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

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

}  // namespace ddpm::io
