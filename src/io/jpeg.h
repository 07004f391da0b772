#pragma once

#include "ddpm/io/image.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace ddpm::io {

/// Size and channels (1 or 3) of a JPEG as stored; none if the bytes do not include its frame
/// header, or libjpeg cannot read it.
std::optional<ImageInfo> jpeg_header(std::span<const uint8_t> beginning);

/// Decodes a JPEG as stored: grey, or RGB (CMYK is converted). Throws IoError(name, ...) if it is
/// damaged or its pixel data are incomplete, which other decoders fill with grey.
Image decode_jpeg(std::span<const uint8_t> bytes, const std::string& name);

}  // namespace ddpm::io
