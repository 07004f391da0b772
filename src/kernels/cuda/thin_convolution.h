#pragma once

#include "../group_norm_math.h"  // Element

#include <cstdint>

// The 3x3 convolution of stride 1 and padding 1 between few channels ("thin", at most
// kMaxThinChannels) and many ("wide", an even number). Images are [B, height, width, channels];
// sums are float32. Each function queues its work on `stream`.

namespace ddpm::kernels::cuda {

constexpr int64_t kMaxThinChannels = 8;

struct ThinConvShape {
  int64_t batch, height, width;
  int64_t thin, wide;  ///< channels
};

/// wide[p, w] = bias[w] + sum over taps t and channels n of thin[p + t - 1, n] weight[t, n, w].
/// weight: [9, thin, wide]; bias may be null.
void thin_to_wide(const ThinConvShape& shape, Element thin_type, const void* thin,
                  const float* weight, const float* bias, Element wide_type, void* wide,
                  void* stream);

/// thin[p, n] = bias[n] + sum over t and w of wide[p + t - 1, w] weight[t, n, w], in float32.
void wide_to_thin(const ThinConvShape& shape, Element wide_type, const void* wide,
                  const float* weight, const float* bias, float* thin, void* stream);

/// Parts of the sum over p of thin[p + t - 1, n] wide[p, w]: partial [thin_conv_parts, 9, thin,
/// wide], to be added up.
void thin_wide_products(const ThinConvShape& shape, Element thin_type, const void* thin,
                        Element wide_type, const void* wide, float* partial, void* stream);

/// One per thread block: enough for the largest GPU, or one per row.
inline int64_t thin_conv_parts(const ThinConvShape& s) {
  constexpr int64_t kMaxRows = 264;
  const int64_t rows = s.batch * s.height;
  return rows < kMaxRows ? rows : kMaxRows;
}

}  // namespace ddpm::kernels::cuda
