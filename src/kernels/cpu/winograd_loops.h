#pragma once

#include "loops.h"
#include "simd.h"

// The loops of Winograd's 3x3 convolution, F(2x2, 3x3) (Lavin and Gray 2016, Sec. 4.1; winograd.h).
// With d a patch of 4x4 input pixels, w the weights and y the patch's 2x2 results, for each pair of
// channels
//   y = A' [(G w G') * (B' d B)] A,
// where * is elementwise. The sum over the input channels is 16 matrix products. A transformed
// array is [16][count][channels]; the 16 numbers of a patch are `stride` apart.

namespace ddpm::kernels {
namespace {

/// Where patch `index` of a batch lies; see WinogradShape.
struct PatchPosition {
  int64_t image;
  int64_t row, column;  ///< of the first pixel of its results
  DDPM_INLINE PatchPosition(const WinogradShape& s, int64_t index) {
    const int64_t down = (s.height + 1) / 2, across = (s.width + 1) / 2;
    image = index / (down * across);
    row = index / across % down * 2;
    column = index % across * 2;
  }
};

/// The channels of a pixel, or zeros outside the image.
DDPM_INLINE const float* pixel(const WinogradShape& s, const float* x, const float* zeros,
                               int64_t image, int64_t row, int64_t column) {
  const bool inside = row >= 0 && row < s.height && column >= 0 && column < s.width;
  return inside ? x + ((image * s.height + row) * s.width + column) * s.channels : zeros;
}

/// B' d B of patches first .. first + count - 1; d begins one pixel above and left of the results.
void winograd_input(const WinogradShape& s, const float* x, const float* zeros, int64_t first,
                    int64_t count, float* to, int64_t stride) {
  for (int64_t t = 0; t < count; ++t) {
    const PatchPosition at(s, first + t);
    const float* from[16];
    for (int i = 0; i < 16; ++i) {
      from[i] = pixel(s, x, zeros, at.image, at.row - 1 + i / 4, at.column - 1 + i % 4);
    }
    float* row = to + t * s.channels;
    for (int64_t c = 0; c < s.channels; c += kLanes) {
      Floats d[4][4];
      // B' d
      for (int j = 0; j < 4; ++j) {
        const Floats d0 = FloatPack::load(from[j] + c), d1 = FloatPack::load(from[4 + j] + c),
                     d2 = FloatPack::load(from[8 + j] + c), d3 = FloatPack::load(from[12 + j] + c);
        d[0][j] = d0 - d2, d[1][j] = d1 + d2, d[2][j] = d2 - d1, d[3][j] = d1 - d3;
      }
      // (B' d) B
      for (int i = 0; i < 4; ++i) {
        float* out = row + 4 * i * stride + c;
        FloatPack::store(out, d[i][0] - d[i][2]);
        FloatPack::store(out + stride, d[i][1] + d[i][2]);
        FloatPack::store(out + 2 * stride, d[i][2] - d[i][1]);
        FloatPack::store(out + 3 * stride, d[i][1] - d[i][3]);
      }
    }
  }
}

/// A dy A', with dy the 2x2 gradients of a patch's results.
void winograd_gradient(const WinogradShape& s, const float* dy, const float* zeros, int64_t first,
                       int64_t count, float* to, int64_t stride) {
  for (int64_t t = 0; t < count; ++t) {
    const PatchPosition at(s, first + t);
    const float* from[4];
    for (int i = 0; i < 4; ++i) {
      from[i] = pixel(s, dy, zeros, at.image, at.row + i / 2, at.column + i % 2);
    }
    float* row = to + t * s.channels;
    for (int64_t c = 0; c < s.channels; c += kLanes) {
      Floats d[4][2];
      for (int j = 0; j < 2; ++j) {
        const Floats d0 = FloatPack::load(from[j] + c), d1 = FloatPack::load(from[2 + j] + c);
        d[0][j] = d0, d[1][j] = d0 + d1, d[2][j] = d0 - d1, d[3][j] = -d1;
      }
      for (int i = 0; i < 4; ++i) {
        float* out = row + 4 * i * stride + c;
        FloatPack::store(out, d[i][0]);
        FloatPack::store(out + stride, d[i][0] + d[i][1]);
        FloatPack::store(out + 2 * stride, d[i][0] - d[i][1]);
        FloatPack::store(out + 3 * stride, -d[i][1]);
      }
    }
  }
}

/// y = A' m A + bias; bias may be null.
void winograd_output(const WinogradShape& s, const float* m, int64_t stride, const float* bias,
                     int64_t first, int64_t count, float* y) {
  for (int64_t t = 0; t < count; ++t) {
    const PatchPosition at(s, first + t);
    const float* row = m + t * s.channels;
    float* to = y + ((at.image * s.height + at.row) * s.width + at.column) * s.channels;
    const bool below = at.row + 1 < s.height, right = at.column + 1 < s.width;
    for (int64_t c = 0; c < s.channels; c += kLanes) {
      Floats r[2][4];
      for (int j = 0; j < 4; ++j) {
        const float* in = row + j * stride + c;
        const Floats m0 = FloatPack::load(in), m1 = FloatPack::load(in + 4 * stride),
                     m2 = FloatPack::load(in + 8 * stride), m3 = FloatPack::load(in + 12 * stride);
        r[0][j] = m0 + m1 + m2, r[1][j] = m1 - m2 - m3;
      }
      const Floats b = bias ? FloatPack::load(bias + c) : Floats{};
      for (int i = 0; i < (below ? 2 : 1); ++i) {
        float* out = to + i * s.width * s.channels + c;
        FloatPack::store(out, r[i][0] + r[i][1] + r[i][2] + b);
        if (right) FloatPack::store(out + s.channels, r[i][1] - r[i][2] - r[i][3] + b);
      }
    }
  }
}

// Rows and columns of a block of sums in registers: kRows * 2 vectors of sums, two of b and one of a
// fill the registers.
#if defined(__AVX512F__)
constexpr int kRows = 12;
#else
constexpr int kRows = 6;
#endif
constexpr int kColumns = 2 * kLanes;

/// c = a b for a block of R rows and kColumns columns; a: [R, k], rows `lda` apart, b: [k,
/// kColumns].
template <int R>
DDPM_INLINE void multiply_block(const float* a, int64_t lda, const float* b, int64_t k, float* c,
                                int64_t ldc) {
  Floats sum[R][2] = {};
  for (int64_t p = 0; p < k; ++p) {
    const Floats b0 = FloatPack::load(b + p * kColumns),
                 b1 = FloatPack::load(b + p * kColumns + kLanes);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      // x - 0 compiles to a broadcast of x; x + 0 would be a third operation (x may be -0).
      const Floats v = a[r * lda + p] - Floats{};
      sum[r][0] += v * b0, sum[r][1] += v * b1;
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    FloatPack::store(c + r * ldc, sum[r][0]);
    FloatPack::store(c + r * ldc + kLanes, sum[r][1]);
  }
}

/// c = a b. a: [rows, k]; b: [columns / kColumns][k][kColumns]; c: [rows, columns].
void winograd_multiply(const float* a, const float* b, float* c, int64_t rows, int64_t k,
                       int64_t columns) {
  for (int64_t n = 0; n < columns; n += kColumns) {
    const float* panel = b + n * k;
    int64_t r = 0;
    for (; r + kRows <= rows; r += kRows)
      multiply_block<kRows>(a + r * k, k, panel, k, c + r * columns + n, columns);
    for (; r < rows; ++r) multiply_block<1>(a + r * k, k, panel, k, c + r * columns + n, columns);
  }
}

/// c += a' b for a block; a: [k, R], b: [k, kColumns], rows lda and ldb apart.
template <int R>
DDPM_INLINE void accumulate_block(const float* a, int64_t lda, const float* b, int64_t ldb,
                                  int64_t k, float* c, int64_t ldc) {
  Floats sum[R][2] = {};
  for (int64_t p = 0; p < k; ++p) {
    const Floats b0 = FloatPack::load(b + p * ldb), b1 = FloatPack::load(b + p * ldb + kLanes);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const Floats v = a[p * lda + r] - Floats{};
      sum[r][0] += v * b0, sum[r][1] += v * b1;
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    float* to = c + r * ldc;
    FloatPack::store(to, FloatPack::load(to) + sum[r][0]);
    FloatPack::store(to + kLanes, FloatPack::load(to + kLanes) + sum[r][1]);
  }
}

/// c += a' b. a: [k, rows]; b: [k, columns]; c: [rows, columns].
void winograd_accumulate(const float* a, const float* b, float* c, int64_t k, int64_t rows,
                         int64_t columns) {
  for (int64_t n = 0; n < columns; n += kColumns) {
    int64_t r = 0;
    for (; r + kRows <= rows; r += kRows)
      accumulate_block<kRows>(a + r, rows, b + n, columns, k, c + r * columns + n, columns);
    for (; r < rows; ++r)
      accumulate_block<1>(a + r, rows, b + n, columns, k, c + r * columns + n, columns);
  }
}

constexpr WinogradLoops winograd_loops() {
  return {kColumns,           kRows,           winograd_input,
          winograd_gradient,  winograd_output, winograd_multiply,
          winograd_accumulate};
}

}  // namespace
}  // namespace ddpm::kernels
