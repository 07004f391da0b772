#pragma once

#include "ddpm/io/image.h"

#include <array>
#include <cstdint>
#include <span>

namespace ddpm::io {

/// Precedes the TIFF block in a JPEG, and in some WebPs.
inline constexpr std::array<uint8_t, 6> kExifSign = {'E', 'x', 'i', 'f', 0, 0};

/// The EXIF orientation of a JPEG or WebP, 1 (upright) to 8 (EXIF 2.3, tag 0x0112). 1 if the bytes
/// hold no such tag, or a damaged one.
int exif_orientation(std::span<const uint8_t> image);

/// Whether the orientation swaps height and width.
inline bool swaps_sides(int orientation) { return orientation >= 5; }

/// Rotates and mirrors the stored image so that it is upright.
Image apply_orientation(Image stored, int orientation);

}  // namespace ddpm::io
