#pragma once

#include <cstddef>

namespace ddpm::io {

/// While alive, limits each allocation of stb_image in this thread to `bytes`; decoding fails
/// beyond. stb_image unpacks a PNG's data before it compares them with the image's size, and a
/// small file may hold gigabytes.
class StbLimit {
 public:
  explicit StbLimit(size_t bytes);
  ~StbLimit();
  StbLimit(const StbLimit&) = delete;
  StbLimit& operator=(const StbLimit&) = delete;
};

}  // namespace ddpm::io
