#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace ddpm::io {

enum class ImageFormat { kUnknown, kPng, kJpeg, kWebp, kBmp, kPnm, kTga };

/// By the signature; TGA, which has none, by the ending of `name`.
ImageFormat image_format(std::span<const uint8_t> bytes, const std::string& name);

/// What is wrong with the file as a container, or "" if it is complete. Check this before decoding:
/// decoders fill the missing part of a truncated file, and stb_image checks no checksums.
std::string image_damage(std::span<const uint8_t> bytes, ImageFormat format);

/// Whether stb_image can read the size from these first bytes of an image: it overflows for numbers
/// of many digits in a PNM header.
bool header_is_safe(std::span<const uint8_t> beginning, ImageFormat format);

}  // namespace ddpm::io
