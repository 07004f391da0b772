#pragma once

#include <cstddef>

namespace ddpm::io {

/// While it lives, stb_image gets no block of more than `bytes` in this thread, and then fails. It
/// unpacks a PNG's data before it compares them with the image's size: a small file may hold
/// gigabytes.
class StbLimit {
 public:
  explicit StbLimit(size_t bytes);
  ~StbLimit();
  StbLimit(const StbLimit&) = delete;
  StbLimit& operator=(const StbLimit&) = delete;
};

}  // namespace ddpm::io
