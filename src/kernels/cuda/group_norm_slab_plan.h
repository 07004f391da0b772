#pragma once

#include "../group_norm_math.h"

// Which part of an image one CUDA thread block normalises on its own, in shared memory. A wide slab
// reads full sectors of memory; a narrow one leaves room for several blocks per processor, of which
// one loads while another computes. The plan weighs both and falls back to group_norm_blocks.cuh.
// These are pure functions of the shape and the device, tested without a GPU.

namespace ddpm::kernels {

/// A slab: whole groups of one image, all its pixels. Threads lie along the channels (`lanes`, each
/// with a vector of channels), then along the pixels (`rows`). The grid has the slabs of the first
/// image, then those of the next.
struct Slab {
  int32_t groups;    ///< 0: no slab; the image is read in blocks of pixels
  int32_t channels;  ///< of these groups
  int32_t lanes, rows;
  int32_t threads;  ///< per thread block: at least lanes x rows, full warps
  int32_t shared;   ///< bytes of shared memory per thread block
};

/// Bytes of an image's number and of a sum; channels per vector.
struct SlabElement {
  int32_t size, sum_size, vector;
};

struct SlabDevice {
  int64_t processors;
  int64_t shared_per_block;  ///< with opt-in, bytes
  int64_t shared_per_processor;
};

/// Rows' sums are added to this many segments, then these: both are short for 64 to 512 rows.
constexpr int32_t kSlabSegments = 8;

/// Most threads per block: rows' sums take one number per channel and thread, 8 KiB of float.
DDPM_HOST_DEVICE constexpr int32_t slab_max_threads(int32_t vector) {
  return vector > 4 ? 2048 / vector : 512;
}

/// Offsets in a thread block's shared memory, in bytes. images: how many of [pixels, channels] are
/// kept (x, and dy in the backward pass).
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

/// The slab that is expected to be fastest. It has 0 groups if none fits or if blocks of pixels,
/// which read one image (images = 1) or two (2) twice, are expected to take less time.
Slab plan_slab(const GroupNormShape& shape, const SlabElement& element, int32_t images,
               const SlabDevice& device);

/// The slab of that many groups (a divisor of the image's) and at most that many threads. It has 0
/// groups if it does not fit.
Slab make_slab(const GroupNormShape& shape, const SlabElement& element, int32_t images,
               int64_t groups, int32_t max_threads, int64_t shared_per_block);

}  // namespace ddpm::kernels
