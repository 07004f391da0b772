#pragma once

#include "ddpm/io/image.h"

#include <cstdint>
#include <span>

namespace ddpm::io {

/// How the stored picture of a JPEG or WebP must be turned to stand upright: 1 (as it is) to 8
/// (EXIF 2.3, tag 0x0112). 1 if the bytes hold no such tag, or a damaged one.
int exif_orientation(std::span<const uint8_t> image);

/// Do height and width change places?
inline bool swaps_sides(int orientation) { return orientation >= 5; }

/// The stored picture, turned.
Image turned_upright(Image stored, int orientation);

}  // namespace ddpm::io
