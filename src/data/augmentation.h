#pragma once

#include "ddpm/base/philox.h"

#include <cstdint>

namespace ddpm::data {

/// Random changes of a training sample: a function of (seed, p) alone, where p is its position in
/// the endless order of samples.
class Augmentation {
 public:
  struct Offset {
    int64_t top = 0;
    int64_t left = 0;
  };

  Augmentation(uint64_t seed, bool flip, bool random_crop);

  /// Whether sample p is mirrored left to right.
  bool flips(int64_t p) const;
  /// Offset of sample p in an image that is larger by so many rows and columns: uniform with random
  /// crops, else the centre.
  Offset crop(int64_t p, int64_t spare_rows, int64_t spare_columns) const;

 private:
  RngKey flip_key_, crop_key_;
  bool flip_, random_crop_;
};

}  // namespace ddpm::data
