#pragma once

#include "../group_norm_math.h"

#include <cstdint>

// Which part of an image one CUDA thread block normalises on its own, in registers, if its numbers
// have 16 bits. Pure functions of the shape, tested without a GPU.

namespace ddpm::kernels {

/// Channels of a vector of 16 bytes, and parts that the rows' sums are folded to.
constexpr int kSlab16Vector = 8, kSlab16Segments = 4;
/// Most vectors per thread and image.
constexpr int32_t kSlab16MaxHeld = 8;

/// Most threads of a block with so many vectors per thread.
DDPM_HOST_DEVICE constexpr int32_t slab16_max_threads(int32_t held) {
  return held == kSlab16MaxHeld ? 512 : 256;
}

/// Whole groups of one image, all its pixels. Threads lie along the channels (`lanes`, a vector
/// each), then along the pixels (`rows`).
struct Slab16 {
  int32_t groups;  ///< 0: no slab
  int32_t channels, lanes, rows;
  int32_t threads;  ///< full warps
  int32_t held;     ///< vectors per thread and image: 1, 2, 4 or 8
  bool full;        ///< every thread has as many
};

/// A thread block's shared memory: numbers per channel, then the sums of the threads.
struct Slab16Shared {
  float *origin, *weight, *bias, *mean, *deviation, *k1, *k2, *q1, *q2, *q3;
  float* folded;  ///< [2][8][segments][lanes]
  float* rows;    ///< [2][8][threads]

  DDPM_HOST_DEVICE Slab16Shared(float* shared, const Slab16& slab) {
    float** const per_channel[]{&origin, &weight, &bias, &mean, &deviation,
                                &k1,     &k2,     &q1,   &q2,   &q3};
    for (float** p : per_channel) {
      *p = shared;
      shared += slab.channels;
    }
    folded = shared;
    rows = folded + 2 * kSlab16Segments * slab.channels;
  }
};

/// Bytes of it.
inline int32_t slab16_shared(const Slab16& slab) {
  return static_cast<int32_t>(sizeof(float)) *
         (slab.channels * (10 + 2 * kSlab16Segments) + 2 * kSlab16Vector * slab.threads);
}

/// The slab of that many groups (a divisor of the image's) and at most that many threads; 0 groups
/// if it does not fit.
Slab16 make_slab16(const GroupNormShape& shape, int64_t groups, int32_t max_threads);

/// The slab that is expected to be fastest on a GPU of so many processors; 0 groups if none fits or
/// group_norm_slab.h is faster. images: 1 forward (x), 2 backward (x and dy).
Slab16 plan_slab16(const GroupNormShape& shape, int32_t images, int64_t processors);

}  // namespace ddpm::kernels
