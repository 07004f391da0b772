#pragma once

#include "../cpu/simd.h"
#include "conv_loops.h"
#include "tiles.h"

// Attention of one head, y = softmax(q k' / sqrt(D)) v (Vaswani et al. 2017, Eq. 1). q, k, v and the results are [N tokens][D] of bfloat16; N and D are multiples of 32.
// For 32 queries at a time, the scores are computed in float32, the softmax is taken row by row,
// and the weights are multiplied by v. The N x N matrix of weights p is never stored.
// The backward pass computes p again from the logarithm of each row's sum (Dao et al. 2022, Alg. 1
// and 4). Blocks are of rows only, as all keys of a head fit into the cache.
// conv_loops.h describes the template argument Tiles.

namespace ddpm::kernels::amx {
namespace {

/// Packs the right factor of a product, given transposed: [columns][k] to the tiles
/// [columns / 32][k / 32][2][16][16][2].
template <class Tiles>
void pack_transposed(const Bf16* from, int64_t stride, int64_t columns, int64_t k, Bf16* to) {
  for (int64_t c = 0; c < columns; c += kPanel) {
    for (int64_t i = 0; i < k; i += kPanel) {
      for (int64_t half = 0; half < kPanel; half += kTile, to += kTileSize)
        Tiles::transpose_pairs(from + (c + half) * stride + i, stride, to);
    }
  }
}

/// Packs the right factor of a product, given as it is: [k][columns].
template <class Tiles>
void pack_rows(const Bf16* from, int64_t stride, int64_t columns, int64_t k, Bf16* to) {
  for (int64_t c = 0; c < columns; c += kPanel) {
    for (int64_t i = 0; i < k; i += kPanel, to += 2 * kTileSize) {
      const Bf16* at = from + i * stride + c;
      for (int64_t row = 0; row < kTile; ++row, at += 2 * stride)
        Tiles::interleave(at, at + stride, to + row * kPanel, to + kTileSize + row * kPanel);
    }
  }
}

/// Of a matrix with rows `stride` apart.
DDPM_INLINE LeftPanel left_panel(const Bf16* a, int64_t stride) {
  return {a, a + kTile * stride, stride, kPanel};
}
/// Of tiles [2][n / 32][16][32], as Tiles::transpose writes them.
DDPM_INLINE LeftPanel left_panel_of_tiles(const Bf16* a, int64_t n) {
  return {a, a + n * kTile, kPanel, kTileSize};
}

/// 32 rows times columns c .. c + 31 of a packed factor, in float32; k is the length of the sums.
template <class Tiles>
DDPM_INLINE void multiply_panel(const LeftPanel& a, const Bf16* packed, int64_t c, int64_t k,
                                float* sums, int64_t sums_stride) {
  const Bf16* b = packed + c * k;
  Tiles::multiply(a, {b, b + kTileSize, kPanel, 2 * kTileSize}, k / kPanel, /*add=*/false, sums,
                  sums_stride);
}

/// 32 rows times a packed factor [n][columns], to y as bfloat16.
template <class Tiles>
void multiply_rows(const LeftPanel& a, const Bf16* packed, int64_t columns, int64_t n, Bf16* y,
                   int64_t stride) {
  alignas(64) float sums[kPanel * kPanel];
  for (int64_t c = 0; c < columns; c += kPanel) {
    multiply_panel<Tiles>(a, packed, c, n, sums, kPanel);
    for (int64_t i = 0; i < kPanel; ++i)
      Tiles::write_row(sums + i * kPanel, nullptr, nullptr, y + i * stride + c);
    compiler_barrier();
  }
}

/// p = exp(scale s - shift) of a row of n scores; returns the sum. p may be s.
DDPM_INLINE float exp_row(const float* s, int64_t n, float scale, float shift, float* p) {
  Floats sum{};
  for (int64_t i = 0; i < n; i += kLanes) {
    const Floats e = exp_of<Floats, Ints>(FloatPack::load(s + i) * scale - shift);
    FloatPack::store(p + i, e);
    sum += e;
  }
  float all = 0.0f;
  for (int i = 0; i < kLanes; ++i) all += sum[i];
  return all;
}

DDPM_INLINE float max_of(const float* s, int64_t n) {
  Floats max = FloatPack::load(s);
  for (int64_t i = kLanes; i < n; i += kLanes) {
    const Floats v = FloatPack::load(s + i);
    max = v > max ? v : max;
  }
  float all = max[0];
  for (int i = 1; i < kLanes; ++i) all = max[i] > all ? max[i] : all;
  return all;
}

/// Numbers of bfloat16 and of float that attend_head and attend_head_backward use.
constexpr int64_t attention_bf16_count(const AttentionShape& s, bool backward) {
  const int64_t matrix = s.tokens * s.channels, weights = s.tokens * s.tokens;
  return backward ? 5 * matrix + 2 * weights + 2 * kPanel * s.tokens
                  : 2 * matrix + kPanel * s.tokens;
}
constexpr int64_t attention_float_count(const AttentionShape& s) { return 2 * kPanel * s.tokens; }

template <class Tiles>
void attend_head(const AttentionShape& s, const Bf16* q, const Bf16* k, const Bf16* v, Bf16* y,
                 float* log_sum, Bf16* bf16_buffer, float* float_buffer) {
  [[maybe_unused]] const typename Tiles::Config config;
  const int64_t n = s.tokens, matrix = n * s.channels;
  Bf16 *keys = bf16_buffer, *values = keys + matrix, *weights = values + matrix;
  pack_transposed<Tiles>(k, s.qkv_stride, n, s.channels, keys);
  pack_rows<Tiles>(v, s.qkv_stride, s.channels, n, values);
  compiler_barrier();
  for (int64_t row = 0; row < n; row += kPanel) {
    const Bf16* queries = q + row * s.qkv_stride;
    for (int64_t c = 0; c < n; c += kPanel) {
      multiply_panel<Tiles>(left_panel(queries, s.qkv_stride), keys, c, s.channels,
                            float_buffer + c, n);
    }
    for (int64_t i = 0; i < kPanel; ++i) {
      float* scores = float_buffer + i * n;
      const float max = max_of(scores, n) * s.scale;
      const float sum = exp_row(scores, n, s.scale, max, scores);
      for (int64_t j = 0; j < n; j += kLanes)
        FloatPack::store(weights + i * n + j, FloatPack::load(scores + j) * (1.0f / sum));
      log_sum[row + i] = max + __builtin_logf(sum);
    }
    compiler_barrier();
    multiply_rows<Tiles>(left_panel(weights, n), values, s.channels, n, y + row * s.y_stride,
                         s.y_stride);
  }
}

/// One query of the backward pass. The weights are p = exp(scale scores - log_sum); they also
/// replace the scores. The gradients of the scores are ds = p (dp - sum of dp p) scale. The sum of
/// dp p over a row equals that of dy y over the channels.
DDPM_INLINE void score_gradients(const AttentionShape& s, const Bf16* y, const Bf16* dy,
                                 float log_sum, float* scores, const float* dp, Bf16* p, Bf16* ds) {
  const int64_t n = s.tokens;
  exp_row(scores, n, s.scale, log_sum, scores);
  Floats dot{};
  for (int64_t c = 0; c < s.channels; c += kLanes)
    dot += FloatPack::load(y + c) * FloatPack::load(dy + c);
  float dp_dot_p = 0.0f;
  for (int lane = 0; lane < kLanes; ++lane) dp_dot_p += dot[lane];
  for (int64_t j = 0; j < n; j += kLanes) {
    const Floats w = FloatPack::load(scores + j);
    FloatPack::store(p + j, w);
    FloatPack::store(ds + j, w * (FloatPack::load(dp + j) - dp_dot_p) * s.scale);
  }
}

/// With p the weights: dv = p' dy, dp = dy v', ds as above, dq = ds k, dk = ds' q.
template <class Tiles>
void attend_head_backward(const AttentionShape& s, const Bf16* q, const Bf16* k, const Bf16* v,
                          const Bf16* y, const Bf16* dy, const float* log_sum, Bf16* dq, Bf16* dk,
                          Bf16* dv, Bf16* bf16_buffer, float* float_buffer) {
  [[maybe_unused]] const typename Tiles::Config config;
  const int64_t n = s.tokens, matrix = n * s.channels;
  Bf16 *keys_transposed = bf16_buffer, *keys = keys_transposed + matrix, *values = keys + matrix,
       *queries = values + matrix, *gradients = queries + matrix;
  Bf16 *p_transposed = gradients + matrix, *ds_transposed = p_transposed + n * n,
       *p = ds_transposed + n * n, *ds = p + kPanel * n;
  float *scores = float_buffer, *dp = float_buffer + kPanel * n;
  pack_transposed<Tiles>(k, s.qkv_stride, n, s.channels, keys_transposed);
  pack_rows<Tiles>(k, s.qkv_stride, s.channels, n, keys);
  pack_transposed<Tiles>(v, s.qkv_stride, n, s.channels, values);
  pack_rows<Tiles>(q, s.qkv_stride, s.channels, n, queries);
  pack_rows<Tiles>(dy, s.y_stride, s.channels, n, gradients);
  compiler_barrier();
  for (int64_t row = 0; row < n; row += kPanel) {
    const Bf16 *q_rows = q + row * s.qkv_stride, *dy_rows = dy + row * s.y_stride;
    for (int64_t c = 0; c < n; c += kPanel) {
      multiply_panel<Tiles>(left_panel(q_rows, s.qkv_stride), keys_transposed, c, s.channels,
                            scores + c, n);
      multiply_panel<Tiles>(left_panel(dy_rows, s.y_stride), values, c, s.channels, dp + c, n);
    }
    for (int64_t i = 0; i < kPanel; ++i) {
      score_gradients(s, y + (row + i) * s.y_stride, dy + (row + i) * s.y_stride, log_sum[row + i],
                      scores + i * n, dp + i * n, p + i * n, ds + i * n);
    }
    for (int64_t c = 0; c < n; c += kTile) {
      Tiles::transpose(p + c, n, p_transposed + c * n + row * kTile);
      Tiles::transpose(ds + c, n, ds_transposed + c * n + row * kTile);
    }
    compiler_barrier();
    multiply_rows<Tiles>(left_panel(ds, n), keys, s.channels, n, dq + row * s.qkv_stride,
                         s.qkv_stride);
  }
  for (int64_t row = 0; row < n; row += kPanel) {
    multiply_rows<Tiles>(left_panel_of_tiles(p_transposed + row * n, n), gradients, s.channels, n,
                         dv + row * s.qkv_stride, s.qkv_stride);
    multiply_rows<Tiles>(left_panel_of_tiles(ds_transposed + row * n, n), queries, s.channels, n,
                         dk + row * s.qkv_stride, s.qkv_stride);
  }
}

template <class Tiles>
constexpr AttentionLoops attention_loops() {
  return {attention_bf16_count, attention_float_count, attend_head<Tiles>,
          attend_head_backward<Tiles>};
}

}  // namespace
}  // namespace ddpm::kernels::amx
