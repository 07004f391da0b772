#pragma once

#include "../cpu/simd.h"
#include "tiles.h"

// What the loops of every kind of processor share: the sizes of tiles, the factors of a product,
// and the copy of an image to its positions (ConvGroup).

namespace ddpm::kernels::amx {
namespace {

/// Rows of a tile, and its columns of float32.
constexpr int64_t kTile = 16;
/// Numbers of bfloat16 in a tile.
constexpr int64_t kTileSize = kTile * kPanel;

/// 32 rows of a left factor: where the first and the second 16 begin, the distance of rows, and the
/// distance to the next 32 columns.
struct LeftPanel {
  const Bf16 *upper, *lower;
  int64_t row_stride, step;
};
/// 32 columns of a right factor [k / 2][16][2]: where the first and the second 16 begin, the
/// distance of rows (pairs of k), and the distance to the next 32 k.
struct RightPanel {
  const Bf16 *left, *right;
  int64_t row_stride, step;
};

/// From a result's position to the one that a tap reads; taps is 9 or 1.
inline int64_t tap_offset(int64_t tap, int64_t taps, int64_t row_stride) {
  return taps == 1 ? row_stride + 1 : tap / 3 * row_stride + tap % 3;
}

/// The compiler moves no memory access across it. It does not see those of the tiles.
inline void compiler_barrier() { asm volatile("" ::: "memory"); }

/// Copies a pixel of one panel.
inline void copy_panel(const Bf16* from, Bf16* to) {
  __builtin_memcpy(to, from, kPanel * sizeof(Bf16));
}
inline void copy_panel(const Bf16* from, float* to) {
  for (int64_t i = 0; i < kPanel; i += kLanes) FloatPack::store(to + i, FloatPack::load(from + i));
}

/// Copies one panel of the group's pixels to `count` positions; the others are zeros. Without a
/// border the first position is the first pixel, and there are only zeros between the rows.
template <class Number>
void gather(const ConvGroup& g, const Bf16* image, int64_t channels, bool border, int64_t count,
            Number* to) {
  Number* const end = to + count * kPanel;
  const auto zeros = [&](int64_t positions) {
    for (; positions > 0 && to < end; --positions, to += kPanel)
      __builtin_memset(to, 0, kPanel * sizeof(Number));
  };
  const auto pixels = [&](int64_t b, int64_t r) {
    const Bf16* from = image + (b * g.height + r) * g.width * channels;
    for (int64_t c = 0; c < g.width && to < end; ++c, from += channels, to += kPanel)
      copy_panel(from, to);
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

}  // namespace
}  // namespace ddpm::kernels::amx
