#pragma once

#include "../cpu/simd.h"
#include "conv_loops.h"

// Attention of one head, softmax(q k' / sqrt(D)) v, in products of tiles (tile_conv_loops.h). q, k,
// v and results are [N tokens][D] of bfloat16; N and D are multiples
// of 32. Weights of one block of 32 queries are made at a time; the backward pass makes them again
// from the rows' log sums (Dao et al. 2022, Alg. 1 and 4, in blocks of rows alone: all of a head's
// keys fit into the cache).

namespace ddpm::kernels {
namespace {

/// The right factor's tiles, [columns / 32][k / 32][2][16][16][2], of a matrix whose rows are the
/// product's columns: [columns][k].
template <class Tiles>
void pack_turned(const Bf16* from, int64_t stride, int64_t columns, int64_t k, Bf16* to) {
  for (int64_t c = 0; c < columns; c += kPanel) {
    for (int64_t i = 0; i < k; i += kPanel) {
      for (int64_t half = 0; half < kPanel; half += kTile, to += kWhole)
        Tiles::transpose_pairs(from + (c + half) * stride + i, stride, to);
    }
  }
}

/// The same of [k][columns].
template <class Tiles>
void pack_straight(const Bf16* from, int64_t stride, int64_t columns, int64_t k, Bf16* to) {
  for (int64_t c = 0; c < columns; c += kPanel) {
    for (int64_t i = 0; i < k; i += kPanel, to += 2 * kWhole) {
      const Bf16* at = from + i * stride + c;
      for (int64_t row = 0; row < kTile; ++row, at += 2 * stride)
        Tiles::interleave_apart(at, at + stride, to + row * kPanel, to + kWhole + row * kPanel);
    }
  }
}

/// 32 rows of a left factor: where row 0 and row 16 begin, how far apart rows and panels are.
struct Rows {
  const Bf16 *first, *below;
  int64_t stride, step;
};
/// Of a matrix, rows `stride` apart.
DDPM_INLINE Rows rows_of(const Bf16* a, int64_t stride) {
  return {a, a + kTile * stride, stride, kPanel};
}
/// Of tiles [2][n / 32][16][32], as Tiles::transpose leaves them.
DDPM_INLINE Rows rows_of_tiles(const Bf16* a, int64_t n) {
  return {a, a + n * kTile, kPanel, kWhole};
}

/// 32 rows times columns c .. c + 31 of a packed factor; k is the length of the sums.
template <class Tiles>
DDPM_INLINE void product(Rows a, const Bf16* packed, int64_t c, int64_t k, float* sums,
                         int64_t sums_stride) {
  const Bf16* b = packed + c * k;
  Tiles::zero4();
  for (int64_t i = 0; i < k; i += kPanel, b += 2 * kWhole, a.first += a.step, a.below += a.step)
    Tiles::multiply4(a.first, a.below, a.stride, b, b + kWhole, kPanel);
  Tiles::store4(sums, sums_stride);
  barrier();
}

/// 32 rows times a packed factor [n][columns], to y as bfloat16.
template <class Tiles>
void multiply_rows(const Rows& a, const Bf16* packed, int64_t columns, int64_t n, Bf16* y,
                   int64_t stride) {
  alignas(64) float sums[kPanel * kPanel];
  for (int64_t c = 0; c < columns; c += kPanel) {
    product<Tiles>(a, packed, c, n, sums, kPanel);
    for (int64_t i = 0; i < kPanel; ++i)
      Tiles::write(sums + i * kPanel, nullptr, nullptr, y + i * stride + c);
    barrier();
  }
}

/// exp(scale s - shift) of a row, to p; returns the sum.
DDPM_INLINE float exponentials(const float* s, int64_t n, float scale, float shift, float* p) {
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

DDPM_INLINE float largest(const float* s, int64_t n) {
  Floats most = FloatPack::load(s);
  for (int64_t i = kLanes; i < n; i += kLanes) {
    const Floats v = FloatPack::load(s + i);
    most = v > most ? v : most;
  }
  float all = most[0];
  for (int i = 1; i < kLanes; ++i) all = most[i] > all ? most[i] : all;
  return all;
}

/// Numbers of bfloat16 and of float that attend and attend_backward use.
constexpr int64_t attention_halves(const AttentionShape& s, bool backward) {
  const int64_t matrix = s.tokens * s.channels, weights = s.tokens * s.tokens;
  return backward ? 5 * matrix + 2 * weights + 2 * kPanel * s.tokens
                  : 2 * matrix + kPanel * s.tokens;
}
constexpr int64_t attention_floats(const AttentionShape& s) { return 2 * kPanel * s.tokens; }

template <class Tiles>
void attend(const AttentionShape& s, const Bf16* q, const Bf16* k, const Bf16* v, Bf16* y,
            float* log_sum, Bf16* halves, float* floats) {
  [[maybe_unused]] const typename Tiles::Session session;
  const int64_t n = s.tokens, matrix = n * s.channels;
  Bf16 *keys = halves, *values = keys + matrix, *weights = values + matrix;
  pack_turned<Tiles>(k, s.stride, n, s.channels, keys);
  pack_straight<Tiles>(v, s.stride, s.channels, n, values);
  barrier();
  for (int64_t row = 0; row < n; row += kPanel) {
    const Bf16* at = q + row * s.stride;
    for (int64_t c = 0; c < n; c += kPanel) {
      product<Tiles>(rows_of(at, s.stride), keys, c, s.channels, floats + c, n);
    }
    for (int64_t i = 0; i < kPanel; ++i) {
      float* scores = floats + i * n;
      const float most = largest(scores, n) * s.scale;
      const float sum = exponentials(scores, n, s.scale, most, scores);
      for (int64_t j = 0; j < n; j += kLanes)
        FloatPack::store(weights + i * n + j, FloatPack::load(scores + j) * (1.0f / sum));
      log_sum[row + i] = most + __builtin_logf(sum);
    }
    barrier();
    multiply_rows<Tiles>(rows_of(weights, n), values, s.channels, n, y + row * s.y_stride,
                         s.y_stride);
  }
}

/// With p = softmax: dv = p' dy, dp = dy v', ds = p (dp - sum of dp p), dq = ds k scale,
/// dk = ds' q scale; the sum of dp p over a row is that of dy y.
template <class Tiles>
void attend_backward(const AttentionShape& s, const Bf16* q, const Bf16* k, const Bf16* v,
                     const Bf16* y, const Bf16* dy, const float* log_sum, Bf16* dq, Bf16* dk,
                     Bf16* dv, Bf16* halves, float* floats) {
  [[maybe_unused]] const typename Tiles::Session session;
  const int64_t n = s.tokens, matrix = n * s.channels;
  Bf16 *keys_turned = halves, *keys = keys_turned + matrix, *values = keys + matrix,
       *queries = values + matrix, *gradients = queries + matrix;
  Bf16 *p_turned = gradients + matrix, *ds_turned = p_turned + n * n, *p = ds_turned + n * n,
       *ds = p + kPanel * n;
  float *scores = floats, *dp = floats + kPanel * n;
  pack_turned<Tiles>(k, s.stride, n, s.channels, keys_turned);
  pack_straight<Tiles>(k, s.stride, s.channels, n, keys);
  pack_turned<Tiles>(v, s.stride, n, s.channels, values);
  pack_straight<Tiles>(q, s.stride, s.channels, n, queries);
  pack_straight<Tiles>(dy, s.y_stride, s.channels, n, gradients);
  barrier();
  for (int64_t row = 0; row < n; row += kPanel) {
    const Bf16 *at = q + row * s.stride, *dy_at = dy + row * s.y_stride;
    for (int64_t c = 0; c < n; c += kPanel) {
      product<Tiles>(rows_of(at, s.stride), keys_turned, c, s.channels, scores + c, n);
      product<Tiles>(rows_of(dy_at, s.y_stride), values, c, s.channels, dp + c, n);
    }
    for (int64_t i = 0; i < kPanel; ++i) {
      float* weights = scores + i * n;
      exponentials(weights, n, s.scale, log_sum[row + i], weights);
      Floats dot{};
      for (int64_t c = 0; c < s.channels; c += kLanes) {
        dot += FloatPack::load(y + (row + i) * s.y_stride + c) *
               FloatPack::load(dy + (row + i) * s.y_stride + c);
      }
      float mean = 0.0f;
      for (int lane = 0; lane < kLanes; ++lane) mean += dot[lane];
      for (int64_t j = 0; j < n; j += kLanes) {
        const Floats w = FloatPack::load(weights + j);
        FloatPack::store(p + i * n + j, w);
        FloatPack::store(ds + i * n + j, w * (FloatPack::load(dp + i * n + j) - mean) * s.scale);
      }
    }
    for (int64_t c = 0; c < n; c += kTile) {
      Tiles::transpose(p + c, n, p_turned + c * n + row * kTile);
      Tiles::transpose(ds + c, n, ds_turned + c * n + row * kTile);
    }
    barrier();
    multiply_rows<Tiles>(rows_of(ds, n), keys, s.channels, n, dq + row * s.stride, s.stride);
  }
  for (int64_t row = 0; row < n; row += kPanel) {
    multiply_rows<Tiles>(rows_of_tiles(p_turned + row * n, n), gradients, s.channels, n,
                         dv + row * s.stride, s.stride);
    multiply_rows<Tiles>(rows_of_tiles(ds_turned + row * n, n), queries, s.channels, n,
                         dk + row * s.stride, s.stride);
  }
}

template <class Tiles>
constexpr TileAttentionLoops tile_attention_loops() {
  return {attention_halves, attention_floats, attend<Tiles>, attend_backward<Tiles>};
}

}  // namespace
}  // namespace ddpm::kernels
