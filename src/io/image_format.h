#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace ddpm::io {

enum class ImageFormat { kUnknown, kPng, kJpeg, kWebp, kBmp, kPnm, kTga };

/// From the signature; TGA, which has none, from the name's ending.
ImageFormat image_format(std::span<const uint8_t> bytes, const std::string& name);

/// What is wrong with the file as a container, or "" if it is whole. Decoders fill up what a
/// truncated file lacks, and stb_image checks no checksum, so this comes first.
std::string image_damage(std::span<const uint8_t> bytes, ImageFormat format);

/// May stb_image be asked for the size of an image of which these are the first bytes? The numbers
/// in the header of a PNM overflow there if they have many digits.
bool header_is_safe(std::span<const uint8_t> beginning, ImageFormat format);

}  // namespace ddpm::io
