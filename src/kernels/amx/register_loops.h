#pragma once

#include "../cpu/simd.h"
#include "panels.h"

// The convolution's loops for processors without matrix registers. Positions are numbered as in
// conv_loops.h. Only those of pixels are computed: each row of an image is divided into blocks.
//
// Factors are arrays of words of 32 bits. The template argument Arithmetic says what a word is:
//   kTerms          numbers per word: 2 bfloat16, or 1 float32;
//   kWeightLayout   where the packed weights' columns are;
//   broadcast       a vector of one word;
//   multiply_add    sums + a b, word by word, in float32.
// Each word of the left factor is broadcast and multiplied by two vectors of the right one. With
// AVX-512 a block of 14 rows and 32 columns of sums takes 28 registers, and 28 products take 16
// loads.

namespace ddpm::kernels::amx {
namespace {

/// Columns of sums in registers: two vectors.
constexpr int64_t kColumns = 2 * kLanes;
/// Rows of sums: with two vectors of the right factor and one of the left they fill the registers.
constexpr int64_t kMaxRows = kLanes == 16 ? 14 : 6;

/// Words of the right factor: distance of rows and of the columns' two halves of 16.
struct WordLayout {
  int64_t row_stride, half_stride;
};

/// kRows rows and kColumns columns of sums.
template <class Arithmetic, int kRows>
struct RegisterSums {
  using Word = typename Arithmetic::Word;
  Floats sum[kRows][2];

  DDPM_INLINE void zero() {
#pragma GCC unroll 14
    for (int r = 0; r < kRows; ++r) sum[r][0] = sum[r][1] = Floats{};
  }
  DDPM_INLINE void load(const float* from, int64_t stride) {
#pragma GCC unroll 14
    for (int r = 0; r < kRows; ++r) {
      sum[r][0] = FloatPack::load(from + r * stride);
      sum[r][1] = FloatPack::load(from + r * stride + kLanes);
    }
  }
  DDPM_INLINE void store(float* to, int64_t stride) const {
#pragma GCC unroll 14
    for (int r = 0; r < kRows; ++r) {
      FloatPack::store(to + r * stride, sum[r][0]);
      FloatPack::store(to + r * stride + kLanes, sum[r][1]);
    }
  }
  /// Adds the products of one column of a, rows a_stride words apart, and one row of b.
  DDPM_INLINE void add(const Word* a, int64_t a_stride, const Word* b_low, const Word* b_high) {
    const Floats low = FloatPack::load(reinterpret_cast<const float*>(b_low));
    const Floats high = FloatPack::load(reinterpret_cast<const float*>(b_high));
#pragma GCC unroll 14
    for (int r = 0; r < kRows; ++r) {
      const Floats v = Arithmetic::broadcast(a + r * a_stride);
      sum[r][0] = Arithmetic::multiply_add(sum[r][0], v, low);
      sum[r][1] = Arithmetic::multiply_add(sum[r][1], v, high);
    }
  }
};

/// Where columns n and n + kLanes of a row of 32 begin.
DDPM_INLINE int64_t column_offset(const WordLayout& layout, int64_t n) {
  return n / kTile * layout.half_stride + n % kTile;
}

/// A convolution to 32 output channels.
template <class Arithmetic>
struct ConvTerms {
  using Word = typename Arithmetic::Word;
  int64_t taps, row_stride;
  /// [in / 32][count][32 / kTerms]
  const Word* x;
  int64_t count, in;
  const Word* weight;
};

/// The sums of kRows positions, [kRows][32].
template <class Arithmetic, int kRows>
void convolve_positions(const ConvTerms<Arithmetic>& c, int64_t position, float* to) {
  constexpr int64_t kWords = kPanel / Arithmetic::kTerms;
  constexpr WordLayout kLayout = Arithmetic::kWeightLayout;
  for (int64_t n = 0; n < kPanel; n += kColumns) {
    RegisterSums<Arithmetic, kRows> sums;
    sums.zero();
    const auto* low = c.weight + column_offset(kLayout, n);
    const auto* high = c.weight + column_offset(kLayout, n + kLanes);
    for (int64_t tap = 0; tap < c.taps; ++tap) {
      const auto* a = c.x + (position + tap_offset(tap, c.taps, c.row_stride)) * kWords;
      for (int64_t i = 0; i < c.in; i += kPanel, a += c.count * kWords) {
#pragma GCC unroll 16
        for (int64_t k = 0; k < kWords; ++k)
          sums.add(a + k, kWords, low + k * kLayout.row_stride, high + k * kLayout.row_stride);
        low += kWords * kPanel, high += kWords * kPanel;
      }
    }
    sums.store(to + n, kPanel);
  }
}

template <class Arithmetic>
using ConvolvePositions = void (*)(const ConvTerms<Arithmetic>&, int64_t, float*);

template <class Arithmetic, int kRows>
constexpr ConvolvePositions<Arithmetic> rows_if_used() {
  if constexpr (kRows > 0 && kRows <= kMaxRows) return convolve_positions<Arithmetic, kRows>;
  return nullptr;
}

/// convolve_positions by its number of rows.
template <class Arithmetic>
constexpr ConvolvePositions<Arithmetic> kConvolvePositions[15] = {
    rows_if_used<Arithmetic, 0>(),  rows_if_used<Arithmetic, 1>(),  rows_if_used<Arithmetic, 2>(),
    rows_if_used<Arithmetic, 3>(),  rows_if_used<Arithmetic, 4>(),  rows_if_used<Arithmetic, 5>(),
    rows_if_used<Arithmetic, 6>(),  rows_if_used<Arithmetic, 7>(),  rows_if_used<Arithmetic, 8>(),
    rows_if_used<Arithmetic, 9>(),  rows_if_used<Arithmetic, 10>(), rows_if_used<Arithmetic, 11>(),
    rows_if_used<Arithmetic, 12>(), rows_if_used<Arithmetic, 13>(), rows_if_used<Arithmetic, 14>()};

/// y = sums + bias + residual, 32 channels.
DDPM_INLINE void write_panel(const float* sums, const float* bias, const Bf16* residual, Bf16* y) {
  for (int64_t i = 0; i < kPanel; i += kLanes) {
    Floats v = FloatPack::load(sums + i);
    if (bias) v += FloatPack::load(bias + i);
    if (residual) v += FloatPack::load(residual + i);
    FloatPack::store(y + i, v);
  }
}

/// conv_loops.h's convolve_panel. Each row of an image is divided into blocks of about equal width.
template <class Arithmetic>
void convolve_rows(const ConvGroup& g, int64_t taps, const Bf16* x, int64_t count, int64_t in,
                   const Bf16* weight, const float* bias, const Bf16* residual, Bf16* y,
                   int64_t out) {
  using Word = typename Arithmetic::Word;
  const ConvTerms<Arithmetic> terms{taps,
                                    g.row_stride(),
                                    reinterpret_cast<const Word*>(x),
                                    count,
                                    in,
                                    reinterpret_cast<const Word*>(weight)};
  const int64_t blocks = (g.width + kMaxRows - 1) / kMaxRows;
  alignas(64) float sums[kMaxRows * kPanel];
  for (int64_t b = 0; b < g.images; ++b) {
    for (int64_t r = 0; r < g.rows; ++r) {
      const int64_t position = (b * (g.rows + 1) + r) * g.row_stride();
      const int64_t pixel = (b * g.height + g.first_row + r) * g.width;
      for (int64_t block = 0; block < blocks; ++block) {
        const int64_t begin = g.width * block / blocks, end = g.width * (block + 1) / blocks;
        kConvolvePositions<Arithmetic>[end - begin](terms, position + begin, sums);
        for (int64_t c = begin; c < end; ++c) {
          const int64_t at = (pixel + c) * out;
          write_panel(sums + (c - begin) * kPanel, bias, residual ? residual + at : nullptr,
                      y + at);
        }
      }
    }
  }
}

/// What the gradient of the weights sums up, for one panel of dy and one of x, each [words][32].
/// The words of dy are those of its pixels, row by row; x has all positions.
template <class Arithmetic>
struct GradientTerms {
  using Word = typename Arithmetic::Word;
  const Word* dy;
  const Word *even, *odd;
};

/// Adds the sums of one tap to kRows rows of output channels and kColumns columns of inputs.
template <class Arithmetic, int kRows>
DDPM_INLINE void add_gradient_block(const ConvGroup& g, int64_t offset,
                                    const GradientTerms<Arithmetic>& terms, int64_t row, int64_t n,
                                    float* to) {
  constexpr int64_t kTerms = Arithmetic::kTerms;
  const int64_t words = (g.width + kTerms - 1) / kTerms;
  RegisterSums<Arithmetic, kRows> sums;
  sums.load(to + row * kPanel + n, kPanel);
  const auto* a = terms.dy + row;
  for (int64_t b = 0; b < g.images; ++b) {
    for (int64_t r = 0; r < g.rows; ++r) {
      const int64_t position = (b * (g.rows + 1) + r) * g.row_stride() + offset;
      const auto* x = (position % kTerms ? terms.odd : terms.even) + position / kTerms * kPanel + n;
      for (int64_t k = 0; k < words; ++k, a += kPanel, x += kPanel) sums.add(a, 1, x, x + kLanes);
    }
  }
  sums.store(to + row * kPanel + n, kPanel);
}

/// conv_loops.h's add_weight_gradient.
template <class Arithmetic>
void add_gradient(const ConvGroup& g, int64_t taps, int64_t count, const Bf16* dy, int64_t out,
                  const Bf16* even, const Bf16* odd, int64_t x_count, int64_t in, float* sums) {
  using Word = typename Arithmetic::Word;
  // 32 rows in blocks as equal as the registers allow.
  constexpr int kRows = kLanes == 16 ? 11 : 6, kLastRows = kPanel % kRows;
  const auto panel = [](const Bf16* of, int64_t channel, int64_t positions) {
    return reinterpret_cast<const Word*>(of) + channel * positions / Arithmetic::kTerms;
  };
  for (int64_t o = 0; o < out; o += kPanel) {
    for (int64_t i = 0; i < in; i += kPanel) {
      const GradientTerms<Arithmetic> terms{
          panel(dy, o, count), panel(even, i, x_count),
          panel(Arithmetic::kTerms == 1 ? even : odd, i, x_count)};
      for (int64_t tap = 0; tap < taps; ++tap, sums += kPanel * kPanel) {
        const int64_t offset = tap_offset(tap, taps, g.row_stride());
        for (int64_t n = 0; n < kPanel; n += kColumns) {
          int64_t row = 0;
          for (; row + kRows <= kPanel; row += kRows)
            add_gradient_block<Arithmetic, kRows>(g, offset, terms, row, n, sums);
          add_gradient_block<Arithmetic, kLastRows>(g, offset, terms, row, n, sums);
        }
      }
    }
  }
}

/// Adds the sum over a group's pixels of 32 channels to `sum`.
DDPM_INLINE void add_pixels(const ConvGroup& g, const Bf16* image, int64_t channels, float* sum) {
  for (int64_t n = 0; n < kPanel; n += kLanes) {
    Floats all = FloatPack::load(sum + n);
    for (int64_t b = 0; b < g.images; ++b) {
      const Bf16* from = image + (b * g.height + g.first_row) * g.width * channels + n;
      for (int64_t p = 0; p < g.rows * g.width; ++p) all += FloatPack::load(from + p * channels);
    }
    FloatPack::store(sum + n, all);
  }
}

}  // namespace
}  // namespace ddpm::kernels::amx
