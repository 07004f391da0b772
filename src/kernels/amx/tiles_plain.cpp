#include "../cpu/simd.h"
#include "attention_loops.h"
#include "conv_loops.h"
#include "tile_products.h"
#include "tiles.h"

// The loops in plain C++, number by number. Tests run them on any processor. They are the reference
// for the other bodies, and too slow to be used otherwise.

namespace ddpm::kernels::amx {
namespace {

struct PlainTiles {
  struct Config {};

  static float to_float(Bf16 x) { return OneFloat::load(&x); }
  static Bf16 to_bf16(float x) {
    Bf16 y;
    OneFloat::store(&y, x);
    return y;
  }

  static thread_local float sums[kPanel][kPanel];

  static void zero4() { __builtin_memset(sums, 0, sizeof(sums)); }
  static void load4(const float* from, int64_t stride) {
    for (int64_t i = 0; i < kPanel; ++i)
      __builtin_memcpy(sums[i], from + i * stride, sizeof(sums[i]));
  }
  static void store4(float* to, int64_t stride) {
    for (int64_t i = 0; i < kPanel; ++i)
      __builtin_memcpy(to + i * stride, sums[i], sizeof(sums[i]));
  }
  static void multiply4(const Bf16* a0, const Bf16* a1, int64_t a_stride, const Bf16* b0,
                        const Bf16* b1, int64_t b_stride) {
    for (int64_t m = 0; m < kPanel; ++m) {
      const Bf16* a = (m < kTile ? a0 : a1) + m % kTile * a_stride;
      for (int64_t n = 0; n < kPanel; ++n) {
        const Bf16* b = (n < kTile ? b0 : b1) + n % kTile * 2;
        for (int64_t k = 0; k < kTile; ++k, b += b_stride) {
          sums[m][n] += to_float(a[2 * k]) * to_float(b[0]);
          sums[m][n] += to_float(a[2 * k + 1]) * to_float(b[1]);
        }
      }
    }
  }
  static void write_row(const float* from, const float* bias, const Bf16* residual, Bf16* y) {
    for (int64_t i = 0; i < kPanel; ++i) {
      const float sum = from[i] + (bias ? bias[i] : 0.0f);
      y[i] = to_bf16(residual ? sum + to_float(residual[i]) : sum);
    }
  }
  static void interleave(const Bf16* a, const Bf16* b, Bf16* to) {
    for (int64_t i = 0; i < kPanel; ++i) to[2 * i] = a[i], to[2 * i + 1] = b[i];
  }
  static void interleave(const Bf16* a, const Bf16* b, Bf16* low, Bf16* high) {
    for (int64_t i = 0; i < kTile; ++i) {
      low[2 * i] = a[i], low[2 * i + 1] = b[i];
      high[2 * i] = a[kTile + i], high[2 * i + 1] = b[kTile + i];
    }
  }
  // [32 positions][16 channels] to [16 channels][32 positions].
  static void transpose(const Bf16* from, int64_t stride, Bf16* to) {
    for (int64_t i = 0; i < kTile; ++i) {
      for (int64_t p = 0; p < kPanel; ++p) to[i * kPanel + p] = from[p * stride + i];
    }
  }
  // [16 columns][32 k] to [16][16 columns][2].
  static void transpose_pairs(const Bf16* from, int64_t stride, Bf16* to) {
    for (int64_t c = 0; c < kTile; ++c) {
      for (int64_t k = 0; k < kPanel; ++k)
        to[k / 2 * kPanel + 2 * c + k % 2] = from[c * stride + k];
    }
  }
  // Pairs of neighbours in a row: [16 out][32 in] to [16][16 out][2].
  static void transpose_floats(const float* from, int64_t stride, Bf16* to) {
    for (int64_t o = 0; o < kTile; ++o) {
      for (int64_t i = 0; i < kPanel; ++i)
        to[i / 2 * kPanel + 2 * o + i % 2] = to_bf16(from[o * stride + i]);
    }
  }
  // Pairs of neighbours in a column: [32 in][16 out] to [16][16 out][2].
  static void interleave_floats(const float* from, int64_t stride, Bf16* to) {
    for (int64_t i = 0; i < kPanel; ++i) {
      for (int64_t o = 0; o < kTile; ++o)
        to[i / 2 * kPanel + 2 * o + i % 2] = to_bf16(from[i * stride + o]);
    }
  }
  static void sum_positions(const Bf16* from, int64_t count, float* sum) {
    for (int64_t p = 0; p < count; ++p) {
      for (int64_t i = 0; i < kPanel; ++i) sum[i] += to_float(from[p * kPanel + i]);
    }
  }
};

thread_local float PlainTiles::sums[kPanel][kPanel];

using PlainProducts = TileProducts<PlainTiles>;

constexpr TileLoops kLoops{conv_loops<PlainProducts>(), attention_loops<PlainProducts>()};

}  // namespace

const TileLoops* tile_loops_plain() { return &kLoops; }

}  // namespace ddpm::kernels::amx
