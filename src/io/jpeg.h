#pragma once

#include "ddpm/io/image.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace ddpm::io {

/// Size and channels (1 or 3) of a JPEG as it is stored; none if the bytes do not reach to its
/// frame header, or it is none that libjpeg reads.
std::optional<ImageInfo> jpeg_header(std::span<const uint8_t> beginning);

/// Decodes a JPEG as it is stored: grey, or RGB (CMYK is converted). Throws IoError(name, ...) if
/// it is damaged, which includes pixel data that end too early: decoders fill those up with grey.
Image decode_jpeg(std::span<const uint8_t> bytes, const std::string& name);

}  // namespace ddpm::io
