#pragma once

#include "ddpm/io/image.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace ddpm::io {

/// Size and channels (3 or 4) of a WebP as stored; none if the bytes are too few, or not of a WebP.
std::optional<ImageInfo> webp_header(std::span<const uint8_t> beginning);

/// Decodes a WebP as stored: RGB, or RGBA. Throws IoError(name, ...) if it is damaged, or an
/// animation.
Image decode_webp(std::span<const uint8_t> bytes, const std::string& name);

/// The EXIF block of a WebP, starting at its TIFF header; empty if there is none.
std::span<const uint8_t> exif_of_webp(std::span<const uint8_t> bytes);

}  // namespace ddpm::io
