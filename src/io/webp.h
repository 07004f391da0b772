#pragma once

#include "ddpm/io/image.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace ddpm::io {

/// Size and channels (3 or 4) of a WebP as it is stored; none if the bytes do not reach, or are no
/// WebP's.
std::optional<ImageInfo> webp_header(std::span<const uint8_t> beginning);

/// Decodes a WebP as it is stored: RGB, or RGBA. Throws IoError(name, ...) if it is damaged, or an
/// animation.
Image decode_webp(std::span<const uint8_t> bytes, const std::string& name);

/// The EXIF block of a WebP, from its TIFF header on; empty if there is none.
std::span<const uint8_t> exif_of_webp(std::span<const uint8_t> bytes);

}  // namespace ddpm::io
