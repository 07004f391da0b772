#pragma once

#include "../cpu/simd.h"
#include "tiles.h"

#include <immintrin.h>

// Brings memory into the order in which a product reads its factors, with AVX-512 and bfloat16:
// base class of the policies in tiles_amx.cpp and tiles_avx512bf16.cpp. tiles_plain.cpp says in
// plain C++ what each function does.

namespace ddpm::kernels::amx {
namespace {

struct Avx512Layout {
  static DDPM_INLINE __m512i rounded(const float* low, const float* high) {
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(high), _mm512_loadu_ps(low));
  }

  static DDPM_INLINE void write_row(const float* sums, const float* bias, const Bf16* residual,
                                    Bf16* y) {
    __m512 low = _mm512_load_ps(sums), high = _mm512_load_ps(sums + kTile);
    if (bias) {
      low = _mm512_add_ps(low, _mm512_loadu_ps(bias));
      high = _mm512_add_ps(high, _mm512_loadu_ps(bias + kTile));
    }
    if (residual) {
      low = _mm512_add_ps(low, FloatPack::load(residual));
      high = _mm512_add_ps(high, FloatPack::load(residual + kTile));
    }
    _mm512_storeu_si512(y, (__m512i)_mm512_cvtne2ps_pbh(high, low));
  }

  // (a0, b0), (a1, b1), ... of two rows of 32.
  static DDPM_INLINE void interleave_words(__m512i a, __m512i b, __m512i& low, __m512i& high) {
    alignas(64) static constexpr uint16_t kLow[32] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,
                                                      37, 6,  38, 7,  39, 8,  40, 9,  41, 10, 42,
                                                      11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
    const __m512i first = _mm512_load_si512(kLow);
    low = _mm512_permutex2var_epi16(a, first, b);
    high = _mm512_permutex2var_epi16(a, _mm512_add_epi16(first, _mm512_set1_epi16(16)), b);
  }
  static DDPM_INLINE void interleave(const Bf16* a, const Bf16* b, Bf16* low, Bf16* high) {
    __m512i first, second;
    interleave_words(_mm512_loadu_si512(a), _mm512_loadu_si512(b), first, second);
    _mm512_storeu_si512(low, first);
    _mm512_storeu_si512(high, second);
  }
  static DDPM_INLINE void interleave(const Bf16* a, const Bf16* b, Bf16* to) {
    interleave(a, b, to, to + kPanel);
  }

  // Transposes 16 rows of 16 words of 32 bits.
  static DDPM_INLINE void transpose_words(__m512i (&r)[16]) {
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
      t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
      t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
      r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
      r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
      r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
      r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    // The 128-bit part l of r[4 a + j] is column 4 l + j of rows 4 a .. 4 a + 3.
    for (int j = 0; j < 4; ++j) {
      t[j] = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88);
      t[4 + j] = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xdd);
      t[8 + j] = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88);
      t[12 + j] = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xdd);
    }
    for (int j = 0; j < 4; ++j) {
      r[j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0x88);
      r[8 + j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0xdd);
      r[4 + j] = _mm512_shuffle_i32x4(t[4 + j], t[12 + j], 0x88);
      r[12 + j] = _mm512_shuffle_i32x4(t[4 + j], t[12 + j], 0xdd);
    }
  }

  // [32 positions][16 channels] to [16 channels][32 positions].
  static DDPM_INLINE void transpose(const Bf16* from, int64_t stride, Bf16* to) {
    __m512i r[16];
    for (int i = 0; i < 16; ++i) {
      const auto* at = from + 2 * i * stride;
      const __m512i a = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i*)at));
      const __m512i b = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i*)(at + stride)));
      __m512i high;
      interleave_words(a, b, r[i], high);
    }
    transpose_words(r);
    for (int i = 0; i < 16; ++i) _mm512_storeu_si512(to + i * kPanel, r[i]);
  }
  // [16 columns][32 k] to [16][16 columns][2].
  static DDPM_INLINE void transpose_pairs(const Bf16* from, int64_t stride, Bf16* to) {
    __m512i r[16];
    for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_si512(from + i * stride);
    transpose_words(r);
    for (int i = 0; i < 16; ++i) _mm512_storeu_si512(to + i * kPanel, r[i]);
  }
  static DDPM_INLINE void transpose_floats(const float* from, int64_t stride, Bf16* to) {
    __m512i r[16];
    for (int i = 0; i < 16; ++i) r[i] = rounded(from + i * stride, from + i * stride + kTile);
    transpose_words(r);
    for (int i = 0; i < 16; ++i) _mm512_storeu_si512(to + i * kPanel, r[i]);
  }
  static DDPM_INLINE void interleave_floats(const float* from, int64_t stride, Bf16* to) {
    for (int i = 0; i < 16; ++i, from += 2 * stride, to += kPanel) {
      __m512i low, high;
      const __m512i both = rounded(from, from + stride);
      interleave_words(both, _mm512_castsi256_si512(_mm512_extracti64x4_epi64(both, 1)), low, high);
      _mm512_storeu_si512(to, low);
    }
  }

  static DDPM_INLINE void sum_positions(const Bf16* from, int64_t count, float* sum) {
    __m512 low = _mm512_loadu_ps(sum), high = _mm512_loadu_ps(sum + kTile);
    for (int64_t p = 0; p < count; ++p, from += kPanel) {
      low = _mm512_add_ps(low, FloatPack::load(from));
      high = _mm512_add_ps(high, FloatPack::load(from + kTile));
    }
    _mm512_storeu_ps(sum, low);
    _mm512_storeu_ps(sum + kTile, high);
  }
};

}  // namespace
}  // namespace ddpm::kernels::amx
