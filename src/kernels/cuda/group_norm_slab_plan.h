#pragma once

#include "../group_norm_math.h"

// Which part of an image a CUDA block normalises on its own, in shared memory. Pure functions of
// the shape and the device, checked without one.

namespace ddpm::kernels {

/// A slab: whole groups of one image, all its pixels. Threads lie along the channels (`lanes` of
/// them, a vector of channels each), then along the pixels (`rows`); slabs of an image follow one
/// another in the grid, then the images.
struct Slab {
  int32_t groups;    ///< 0: the image is read in tiles
  int32_t channels;  ///< of these groups
  int32_t lanes, rows;
  int32_t threads;  ///< of a block: at least lanes x rows, whole warps
  int32_t shared;   ///< bytes a block
};

/// What is in memory, by sizes in bytes: a number of an image, a sum, and channels a vector.
struct SlabElement {
  int32_t size, sum_size, vector;
};

struct SlabDevice {
  int64_t processors;
  int64_t shared_per_block;  ///< with opt-in, bytes
  int64_t shared_per_processor;
};

/// Row sums are added in this many segments, then these: both short at 64 to 512 rows.
constexpr int32_t kSlabSegments = 8;

/// Most threads a block: row sums take a number a channel and thread, here 8 KiB of float.
DDPM_HOST_DEVICE constexpr int32_t slab_most_threads(int32_t vector) {
  return vector > 4 ? 2048 / vector : 512;
}

/// Where things lie in a block's shared memory, in bytes. images: how many of [pixels, channels]
/// are kept (x, and dy in the backward pass).
struct SlabOffsets {
  int32_t image;                     ///< bytes of one; the first at 0
  int32_t folded;                    ///< double [segments, channels]
  int32_t partial;                   ///< double [channels, 2]
  int32_t statistics;                ///< double [channels, 2]: mean and rstd of a channel's group
  int32_t rows;                      ///< sum [rows, channels]
  int32_t coefficients, parameters;  ///< sum [5, channels] each
  int32_t end;

  DDPM_HOST_DEVICE SlabOffsets(const Slab& slab, int32_t pixels, int32_t images, int32_t size,
                               int32_t sum_size) {
    const int32_t c = slab.channels, doubles = 8;
    image = (pixels * c * size + 15) / 16 * 16;
    folded = images * image;
    partial = folded + kSlabSegments * c * doubles;
    statistics = partial + 2 * c * doubles;
    rows = statistics + 2 * c * doubles;
    coefficients = rows + slab.rows * c * sum_size;
    parameters = coefficients + 5 * c * sum_size;
    end = parameters + 5 * c * sum_size;
  }
};

/// The slab by which images are normalised fastest, or one of 0 groups where none fits or tiles,
/// which read an image twice (images = 1) or two images twice (2), take less time.
Slab plan_slab(const GroupNormShape& shape, const SlabElement& element, int32_t images,
               const SlabDevice& device);

/// The slab of that many groups (a divisor of the image's) and at most that many threads; of 0
/// groups where it does not fit.
Slab make_slab(const GroupNormShape& shape, const SlabElement& element, int32_t images,
               int64_t groups, int32_t most_threads, int64_t shared_per_block);

}  // namespace ddpm::kernels
