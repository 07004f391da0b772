#pragma once

#include "panels.h"

// The 3x3 convolution of bfloat16 maps as products of tiles: 16 rows of 32 numbers by 32 rows of
// 16, added in float32.
// Positions (ConvGroup) number the pixels of a group of images so that the result at position p is
//   y[p] = sum over the taps (i, j) of x[p + i row_stride + j] w[i, j].
// For each tap, 16 consecutive results read 16 consecutive positions, which are the rows of a tile.
// No copy per tap (im2col) is needed.
// Channels come in panels of 32; an array over positions is [channels / 32][positions][32].
// The template argument Tiles is AmxTiles or PlainTiles. Both have zero4, load4 and store4 for a
// block of 2x2 tiles of sums, and multiply4, which adds a product to them. The other functions
// convert between the layouts of memory and of tiles.

namespace ddpm::kernels::amx {
namespace {

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

/// One panel of x as pairs of positions: even[j] holds positions 2j and 2j + 1, odd[j] positions
/// 2j + 1 and 2j + 2, both [count / 2][32][2]. `panel`: room for count + 1 positions.
template <class Tiles>
void arrange_x(const ConvGroup& g, const Bf16* image, int64_t channels, int64_t count, Bf16* panel,
               Bf16* even, Bf16* odd) {
  gather(g, image, channels, /*border=*/true, count + 1, panel);
  const Bf16* x = panel;
  for (int64_t p = 0; p < count; p += 2, x += 2 * kPanel) {
    Tiles::interleave(x, x + kPanel, even + p * kPanel);
    Tiles::interleave(x + kPanel, x + 2 * kPanel, odd + p * kPanel);
  }
}

/// One panel of dy transposed to [2][count / 32][16 channels][32 positions]. Its sum over the
/// positions is added to `sum`. `panel`: room for `count` positions.
template <class Tiles>
void arrange_dy(const ConvGroup& g, const Bf16* image, int64_t channels, int64_t count, Bf16* panel,
                Bf16* to, float* sum) {
  gather(g, image, channels, /*border=*/false, count, panel);
  for (int64_t half = 0; half < 2; ++half) {
    for (int64_t p = 0; p < count; p += kPanel, to += kTileSize)
      Tiles::transpose(panel + p * kPanel + half * kTile, kPanel, to);
  }
  Tiles::sum_positions(panel, count, sum);
}

/// Adds the gradient of the weights, for each tap the sum of dy x over `count` positions, to sums
/// [out / 32][in / 32][taps][32 out][32 in]. x_count: positions of even and odd.
template <class Tiles>
void add_weight_gradient(const ConvGroup& g, int64_t taps, int64_t count, const Bf16* dy,
                         int64_t out, const Bf16* even, const Bf16* odd, int64_t x_count,
                         int64_t in, float* sums) {
  [[maybe_unused]] const typename Tiles::Config config;
  for (int64_t o = 0; o < out; o += kPanel) {
    for (int64_t i = 0; i < in; i += kPanel) {
      for (int64_t tap = 0; tap < taps; ++tap, sums += kPanel * kPanel) {
        const int64_t offset = tap_offset(tap, taps, g.row_stride());
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

/// One panel of x at `count` positions.
inline void gather_panel(const ConvGroup& g, const Bf16* image, int64_t channels, int64_t count,
                         Bf16* to) {
  gather(g, image, channels, /*border=*/true, count, to);
}

template <class Tiles>
constexpr ConvLoops conv_loops() {
  return {.words = 1,
          .gather = gather_panel,
          .convolve_panel = convolve_panel<Tiles>,
          .arrange_x = arrange_x<Tiles>,
          .arrange_dy = arrange_dy<Tiles>,
          .add_weight_gradient = add_weight_gradient<Tiles>,
          .pack_weight = pack_weight<Tiles>,
          .pack_weight_transposed = pack_weight_transposed<Tiles>};
}

}  // namespace
}  // namespace ddpm::kernels::amx
