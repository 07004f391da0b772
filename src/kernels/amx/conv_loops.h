#pragma once

#include "../cpu/loops.h"

// The 3x3 convolution of bfloat16 maps as products of tiles: 16 rows of 32 numbers by 32 rows of
// 16, added in float32. Included by cpu/tiles_amx.cpp with the processor's own tiles (Intel AMX)
// and by cpu/tiles_plain.cpp with tiles written out, which any processor can run.
//
// Positions (ConvGroup) number the pixels of a group of images so that the result at position p is
// the sum over the taps (i, j) of x[p + i row + j] w[i, j]: 16 results in a row read, for each tap,
// 16 positions in a row, which are the rows of a tile. Channels come in panels of 32; what lies at
// positions is [channels / 32][positions][32].

namespace ddpm::kernels {
namespace {

constexpr int64_t kTile = 16;  // rows of a tile, and its columns of float32
constexpr int64_t kWhole = kTile * kPanel;

/// Where a tap of the 9, or the only one, reads from a result's position on.
inline int64_t offset_of(int64_t tap, int64_t taps, int64_t row) {
  return taps == 1 ? row + 1 : tap / 3 * row + tap % 3;
}

/// Tiles read and write memory behind the compiler's back.
inline void barrier() { asm volatile("" ::: "memory"); }

/// `count` positions of one panel: the group's pixels in their places, zeros elsewhere. Without a
/// border the first position is the first pixel, and only zeros are between the rows.
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
  const auto neighbour = [&](int64_t r) {  // a row beside the group's, or the border's
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

/// y at the group's pixels, 32 of its `out` channels, from x at `count` positions and the packed
/// weights [taps][in / 32][2][16][16][2]. residual: like y, added; may be null, as bias may.
template <class Tiles>
void convolve_panel(const ConvGroup& g, int64_t taps, const Bf16* x, int64_t count, int64_t in,
                    const Bf16* weight, const float* bias, const Bf16* residual, Bf16* y,
                    int64_t out) {
  [[maybe_unused]] const typename Tiles::Session session;
  const int64_t row = g.row();
  alignas(64) float sums[kPanel * kPanel];
  int64_t c = 0, r = 0, b = 0;  // of the position that is written next
  for (int64_t p = 0; p < g.results(); p += kPanel) {
    Tiles::zero4();
    const Bf16* w = weight;
    for (int64_t tap = 0; tap < taps; ++tap) {
      const Bf16* a = x + (p + offset_of(tap, taps, row)) * kPanel;
      for (int64_t k = 0; k < in; k += kPanel, w += 2 * kWhole, a += count * kPanel)
        Tiles::multiply4(a, a + kWhole, kPanel, w, w + kWhole, kPanel);
    }
    Tiles::store4(sums, kPanel);
    barrier();
    for (int64_t i = 0; i < kPanel; ++i) {
      if (c < g.width && r < g.rows && b < g.images) {
        const int64_t pixel = (b * g.height + g.first_row + r) * g.width + c;
        Tiles::write(sums + i * kPanel, bias, residual ? residual + pixel * out : nullptr,
                     y + pixel * out);
      }
      if (++c == row) c = 0, ++r;
      if (r > g.rows) r = 0, ++b;
    }
    barrier();
  }
}

/// One panel of x at positions, two by two: even[j] holds positions 2j and 2j + 1, odd[j] 2j + 1
/// and 2j + 2: [count / 2][32][2]. Reads position `count`.
template <class Tiles>
void pair_positions(const Bf16* x, int64_t count, Bf16* even, Bf16* odd) {
  for (int64_t p = 0; p < count; p += 2, x += 2 * kPanel) {
    Tiles::interleave(x, x + kPanel, even + p * kPanel);
    Tiles::interleave(x + kPanel, x + 2 * kPanel, odd + p * kPanel);
  }
}

/// One panel of dy at positions, [2][count / 32][16 channels][32 positions]; its sum over the
/// positions is added to `sum`.
template <class Tiles>
void turn_positions(const Bf16* dy, int64_t count, Bf16* to, float* sum) {
  for (int64_t half = 0; half < 2; ++half) {
    for (int64_t p = 0; p < count; p += kPanel, to += kWhole)
      Tiles::transpose(dy + p * kPanel + half * kTile, kPanel, to);
  }
  Tiles::add_positions(dy, count, sum);
}

/// Adds the gradient of the weights, for each tap the sum over `count` positions of dy x, to sums
/// [out / 32][in / 32][taps][32 out][32 in]. x_count: positions of even and odd.
template <class Tiles>
void accumulate(int64_t row, int64_t taps, int64_t count, const Bf16* dy, int64_t out,
                const Bf16* even, const Bf16* odd, int64_t x_count, int64_t in, float* sums) {
  [[maybe_unused]] const typename Tiles::Session session;
  for (int64_t o = 0; o < out; o += kPanel) {
    for (int64_t i = 0; i < in; i += kPanel) {
      for (int64_t tap = 0; tap < taps; ++tap, sums += kPanel * kPanel) {
        const int64_t offset = offset_of(tap, taps, row);
        const Bf16* a = dy + o * count;
        const Bf16* b = (offset % 2 ? odd : even) + i * x_count + offset / 2 * 2 * kPanel;
        Tiles::load4(sums, kPanel);
        for (int64_t k = 0; k < count; k += kPanel, a += kWhole, b += 2 * kWhole)
          Tiles::multiply4(a, a + kTile * count, kPanel, b, b + kPanel, 2 * kPanel);
        Tiles::store4(sums, kPanel);
        barrier();
      }
    }
  }
}

/// 32 outputs' weights of one tap, [32 out][in] with rows `stride` apart, to [in /
/// 32][2][16][16][2], the panels `step` numbers apart.
template <class Tiles>
void pack_rows(const float* weight, int64_t stride, int64_t in, Bf16* to) {
  for (int64_t i = 0; i < in; i += kPanel) {
    for (int64_t o = 0; o < kPanel; o += kTile, to += kWhole)
      Tiles::transpose_floats(weight + o * stride + i, stride, to);
  }
}

/// The same of [in][32 out].
template <class Tiles>
void pack_columns(const float* weight, int64_t stride, int64_t in, Bf16* to) {
  for (int64_t i = 0; i < in; i += kPanel) {
    for (int64_t o = 0; o < kPanel; o += kTile, to += kWhole)
      Tiles::interleave_floats(weight + i * stride + o, stride, to);
  }
}

template <class Tiles>
constexpr TileConvLoops tile_conv_loops() {
  return {gather<Tiles>,     convolve_panel<Tiles>, pair_positions<Tiles>, turn_positions<Tiles>,
          accumulate<Tiles>, pack_rows<Tiles>,      pack_columns<Tiles>};
}

}  // namespace
}  // namespace ddpm::kernels
