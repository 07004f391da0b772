#pragma once

#include "tiles.h"

// The 3x3 convolution of bfloat16 maps as products of AMX tiles: 16 rows of 32 numbers by 32 rows
// of 16, added in float32.
// Positions (ConvGroup) number the pixels of a group of images so that the result at position p is
//   y[p] = sum over the taps (i, j) of x[p + i row_stride + j] w[i, j].
// 16 consecutive results thus read 16 consecutive positions for each tap, and these are the rows of
// a tile: no copy per tap (im2col) is needed. Channels come in panels of 32; an array over
// positions is [channels / 32][positions][32].
// Included by tiles_amx.cpp and tiles_plain.cpp, whose class Tiles is the template argument. Both
// have zero4, load4 and store4 for a block of 2x2 tiles of sums, and multiply4, which adds a
// product to them. The rest converts between the layouts of memory and of tiles.

namespace ddpm::kernels::amx {
namespace {

/// Rows of a tile, and its columns of float32.
constexpr int64_t kTile = 16;
/// Numbers of bfloat16 in a tile.
constexpr int64_t kTileSize = kTile * kPanel;

/// From a result's position to the one that a tap reads; taps is 9 or 1.
inline int64_t tap_offset(int64_t tap, int64_t taps, int64_t row_stride) {
  return taps == 1 ? row_stride + 1 : tap / 3 * row_stride + tap % 3;
}

/// Keeps the compiler from moving memory accesses across: it does not see those of the tiles.
inline void compiler_barrier() { asm volatile("" ::: "memory"); }

/// Copies one panel of the group's pixels to `count` positions; the others are zeros. Without a
/// border the first position is the first pixel, and there are only zeros between the rows.
template <class Tiles>
void gather(const ConvGroup& g, const Bf16* image, int64_t channels, bool border, int64_t count,
            Bf16* to) {
  Bf16* const end = to + count * kPanel;
  const auto zeros = [&](int64_t positions) {
    for (; positions > 0 && to < end; --positions, to += kPanel)
      __builtin_memset(to, 0, kPanel * sizeof(Bf16));
  };
  const auto pixels = [&](int64_t b, int64_t r) {
    const Bf16* from = image + (b * g.height + r) * g.width * channels;
    for (int64_t c = 0; c < g.width && to < end; ++c, from += channels, to += kPanel)
      __builtin_memcpy(to, from, kPanel * sizeof(Bf16));
  };
  // The row above or below the group, or the border's zeros.
  const auto neighbour = [&](int64_t r) {
    const bool inside = border && r >= 0 && r < g.height;
    inside ? pixels(0, r) : zeros(g.width);
    zeros(1);
  };
  if (border) {
    zeros(1);
    neighbour(g.first_row - 1);
  }
  for (int64_t b = 0; b < g.images; ++b) {
    for (int64_t r = g.first_row; r < g.first_row + g.rows; ++r) {
      pixels(b, r);
      zeros(1);
    }
    neighbour(g.first_row + g.rows);
  }
  zeros(count);
}

/// Sets 32 of the `out` channels of y at the group's pixels, from x at `count` positions and the
/// packed weights [taps][in / 32][2][16][16][2]. residual, like y, is added. bias and residual may
/// be null.
template <class Tiles>
void convolve_panel(const ConvGroup& g, int64_t taps, const Bf16* x, int64_t count, int64_t in,
                    const Bf16* weight, const float* bias, const Bf16* residual, Bf16* y,
                    int64_t out) {
  [[maybe_unused]] const typename Tiles::Config config;
  const int64_t row_stride = g.row_stride();
  alignas(64) float sums[kPanel * kPanel];
  // Column, row and image of the position that is written next.
  int64_t c = 0, r = 0, b = 0;
  for (int64_t p = 0; p < g.result_positions(); p += kPanel) {
    Tiles::zero4();
    const Bf16* w = weight;
    for (int64_t tap = 0; tap < taps; ++tap) {
      const Bf16* a = x + (p + tap_offset(tap, taps, row_stride)) * kPanel;
      for (int64_t k = 0; k < in; k += kPanel, w += 2 * kTileSize, a += count * kPanel)
        Tiles::multiply4(a, a + kTileSize, kPanel, w, w + kTileSize, kPanel);
    }
    Tiles::store4(sums, kPanel);
    compiler_barrier();
    for (int64_t i = 0; i < kPanel; ++i) {
      if (c < g.width && r < g.rows && b < g.images) {
        const int64_t pixel = (b * g.height + g.first_row + r) * g.width + c;
        Tiles::write_row(sums + i * kPanel, bias, residual ? residual + pixel * out : nullptr,
                         y + pixel * out);
      }
      if (++c == row_stride) c = 0, ++r;
      if (r > g.rows) r = 0, ++b;
    }
    compiler_barrier();
  }
}

/// Pairs the positions of one panel of x: even[j] holds positions 2j and 2j + 1, odd[j] positions
/// 2j + 1 and 2j + 2, both [count / 2][32][2]. Reads position `count` as well.
template <class Tiles>
void pair_positions(const Bf16* x, int64_t count, Bf16* even, Bf16* odd) {
  for (int64_t p = 0; p < count; p += 2, x += 2 * kPanel) {
    Tiles::interleave(x, x + kPanel, even + p * kPanel);
    Tiles::interleave(x + kPanel, x + 2 * kPanel, odd + p * kPanel);
  }
}

/// Transposes one panel of dy to [2][count / 32][16 channels][32 positions]; its sum over the
/// positions is added to `sum`.
template <class Tiles>
void transpose_positions(const Bf16* dy, int64_t count, Bf16* to, float* sum) {
  for (int64_t half = 0; half < 2; ++half) {
    for (int64_t p = 0; p < count; p += kPanel, to += kTileSize)
      Tiles::transpose(dy + p * kPanel + half * kTile, kPanel, to);
  }
  Tiles::sum_positions(dy, count, sum);
}

/// Adds the gradient of the weights, for each tap the sum of dy x over `count` positions, to sums
/// [out / 32][in / 32][taps][32 out][32 in]. x_count: positions of even and odd.
template <class Tiles>
void add_weight_gradient(int64_t row_stride, int64_t taps, int64_t count, const Bf16* dy,
                         int64_t out, const Bf16* even, const Bf16* odd, int64_t x_count,
                         int64_t in, float* sums) {
  [[maybe_unused]] const typename Tiles::Config config;
  for (int64_t o = 0; o < out; o += kPanel) {
    for (int64_t i = 0; i < in; i += kPanel) {
      for (int64_t tap = 0; tap < taps; ++tap, sums += kPanel * kPanel) {
        const int64_t offset = tap_offset(tap, taps, row_stride);
        const Bf16* a = dy + o * count;
        const Bf16* b = (offset % 2 ? odd : even) + i * x_count + offset / 2 * 2 * kPanel;
        Tiles::load4(sums, kPanel);
        for (int64_t k = 0; k < count; k += kPanel, a += kTileSize, b += 2 * kTileSize)
          Tiles::multiply4(a, a + kTile * count, kPanel, b, b + kPanel, 2 * kPanel);
        Tiles::store4(sums, kPanel);
        compiler_barrier();
      }
    }
  }
}

/// Packs the weights of one tap of 32 output channels, [32 out][in] with rows `stride` apart, to
/// [in / 32][2][16][16][2].
template <class Tiles>
void pack_weight(const float* weight, int64_t stride, int64_t in, Bf16* to) {
  for (int64_t i = 0; i < in; i += kPanel) {
    for (int64_t o = 0; o < kPanel; o += kTile, to += kTileSize)
      Tiles::transpose_floats(weight + o * stride + i, stride, to);
  }
}

/// The same from [in][32 out].
template <class Tiles>
void pack_weight_transposed(const float* weight, int64_t stride, int64_t in, Bf16* to) {
  for (int64_t i = 0; i < in; i += kPanel) {
    for (int64_t o = 0; o < kPanel; o += kTile, to += kTileSize)
      Tiles::interleave_floats(weight + i * stride + o, stride, to);
  }
}

template <class Tiles>
constexpr ConvLoops conv_loops() {
  return {gather<Tiles>,
          convolve_panel<Tiles>,
          pair_positions<Tiles>,
          transpose_positions<Tiles>,
          add_weight_gradient<Tiles>,
          pack_weight<Tiles>,
          pack_weight_transposed<Tiles>};
}

}  // namespace
}  // namespace ddpm::kernels::amx
