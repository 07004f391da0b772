#pragma once

#include "../group_norm_math.h"  // Element

#include <cstdint>

// Operations of one pass over memory: see ../channel_operations.h and ddpm/kernels/convolution.h.

namespace ddpm::kernels::cuda {

/// count matrices [rows, channels]; each is summed in `chunks` of rows first.
struct RowSums {
  int64_t count, rows, channels, chunks;
};

/// Enough chunks to keep a GPU busy, and few enough to be added up quickly.
inline int64_t row_sum_chunks(int64_t rows, int64_t channels) {
  constexpr int64_t kMinRows = 64, kMaxParts = 1024;
  const int64_t by_rows = (rows + kMinRows - 1) / kMinRows;
  const int64_t columns = (channels + 255) / 256;  // thread blocks side by side
  const int64_t most = kMaxParts / columns > 1 ? kMaxParts / columns : 1;
  return by_rows < most ? by_rows : most;
}

/// in: [count, rows, channels] of element (not kDouble); partial: [count, chunks, channels]; out:
/// [count, channels].
void row_sums(const RowSums& shape, Element element, const void* in, float* partial, float* out,
              void* stream);

/// y += residual + bias[i % channels]; residual and bias may be null. Not kDouble.
void add_bias_residual(Element element, void* y, const void* residual, const float* bias,
                       int64_t numel, int64_t channels, void* stream);

/// y [B, 2 height, 2 width, channels] = each pixel of x [B, height, width, channels] four times.
/// Channels and addresses must be multiples of 16 bytes. Not kDouble.
void upsample(Element element, const void* x, void* y, int64_t batch, int64_t height, int64_t width,
              int64_t channels, void* stream);
/// dx = the sum of the four of dy.
void upsample_backward(Element element, const void* dy, void* dx, int64_t batch, int64_t height,
                       int64_t width, int64_t channels, void* stream);

}  // namespace ddpm::kernels::cuda
