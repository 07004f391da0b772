#include "augmentation.h"

#include "ddpm/base/rng.h"

namespace ddpm::data {

Augmentation::Augmentation(uint64_t seed, bool flip, bool random_crop)
    : flip_key_(rng_key(seed, Purpose::kFlip)),
      crop_key_(rng_key(seed, Purpose::kCrop)),
      flip_(flip),
      random_crop_(random_crop) {}

bool Augmentation::flips(int64_t p) const {
  return flip_ && (philox(flip_key_, static_cast<uint64_t>(p), 0, 0).w[0] & 1u) != 0;
}

Augmentation::Offset Augmentation::crop(int64_t p, int64_t spare_rows,
                                        int64_t spare_columns) const {
  if (!random_crop_ || (spare_rows == 0 && spare_columns == 0))
    return {spare_rows / 2, spare_columns / 2};
  const Words words = philox(crop_key_, static_cast<uint64_t>(p), 0, 0);
  return {uniform_below(words.w[0], static_cast<uint32_t>(spare_rows + 1)),
          uniform_below(words.w[1], static_cast<uint32_t>(spare_columns + 1))};
}

}  // namespace ddpm::data
