#pragma once

#include "loops.h"

#include <cstdint>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

// Vectors as wide as the registers that the file is compiled for, by GCC's vector extension: loads
// and stores of float32 and bfloat16, exp and the sigmoid to a few units in the last place.
// Included by loops_*.cpp and ../amx/tiles_*.cpp. It includes no header with shared inline
// functions: the linker keeps one copy of each, possibly the one compiled for another processor.

namespace ddpm::kernels {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));
typedef uint32_t Words32 __attribute__((vector_size(4 * kLanes)));
typedef uint16_t Halves __attribute__((vector_size(2 * kLanes)));

#define DDPM_INLINE inline __attribute__((always_inline))

template <class To, class From>
DDPM_INLINE To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof(To));
  return to;
}

/// y clamped to -88 .. 88; NaN stays NaN.
template <class V>
DDPM_INLINE V clamp_to_88(V y) {
  const V low = V{} - 88.0f, high = V{} + 88.0f;
  y = y < low ? low : y;
  return y > high ? high : y;
}
/// The nearest integer, for |x| < 2^22.
template <class V>
DDPM_INLINE V nearest(V x) {
  // 1.5 * 2^23: adding it rounds to an integer.
  const V magic = V{} + 12582912.0f;
  return (x + magic) - magic;
}
/// p 2^n for integer n in -127 .. 127.
template <class V, class I>
DDPM_INLINE V times_power_of_2(V p, V n) {
  const V magic = V{} + 12582912.0f;
  const I exponent = (bits_as<I>(n + magic) - bits_as<I>(magic) + 127) << 23;
  return p * bits_as<V>(exponent);
}
template <class V>
DDPM_INLINE V inverse(V x) {
  return 1.0f / x;
}

#if defined(__AVX512F__)
template <>
DDPM_INLINE Floats clamp_to_88(Floats y) {
  // min and max return their second argument if one is NaN.
  return _mm512_min_ps(_mm512_set1_ps(88.0f), _mm512_max_ps(_mm512_set1_ps(-88.0f), y));
}
template <>
DDPM_INLINE Floats nearest(Floats x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
template <>
DDPM_INLINE Floats times_power_of_2<Floats, Ints>(Floats p, Floats n) {
  return _mm512_scalef_ps(p, n);
}
/// An approximation to 14 bits and one Newton step: a third of a division's time. For normal
/// numbers.
template <>
DDPM_INLINE Floats inverse(Floats x) {
  const Floats y = _mm512_rcp14_ps(x);
  return y + y * (1.0f - x * y);
}
#endif

/// exp(y), y clamped to -88 .. 88, to two units in the last place; NaN stays NaN.
template <class V, class I>
DDPM_INLINE V exp_of(V y) {
  y = clamp_to_88(y);
  // exp(y) = 2^n exp(r), n = round(y / ln 2), |r| <= ln(2) / 2; ln 2 in two parts (Cody and Waite).
  const V n = nearest(y * 1.44269504f);
  const V r = (y - n * 0.693145752f) - n * 1.42860677e-6f;
  V p = V{} + 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return times_power_of_2<V, I>(p, n);
}

/// 1 / (1 + exp(-x)) to a few units in the last place; NaN stays NaN.
template <class V, class I>
DDPM_INLINE V sigmoid_of(V x) {
  return inverse(1.0f + exp_of<V, I>(V{} - x));
}

/// kLanes numbers. load and store convert from and to the type in memory. OneFloat and OneDouble
/// are the same for a single number.
struct FloatPack {
  using Value = Floats;
  static constexpr int kWidth = kLanes;
  static DDPM_INLINE Floats load(const float* p) {
    Floats v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
  }
  static DDPM_INLINE void store(float* p, Floats v) { __builtin_memcpy(p, &v, sizeof(v)); }
  static DDPM_INLINE Floats load(const Bf16* p) {
    Halves h;
    __builtin_memcpy(&h, p, sizeof(h));
#if defined(__AVX512F__)
    return bits_as<Floats>(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits_as<__m256i>(h)), 16));
#else
    return bits_as<Floats>(__builtin_convertvector(h, Words32) << 16);
#endif
  }
  // Rounds to nearest even; NaN stays NaN.
  static DDPM_INLINE void store(Bf16* p, Floats v) {
#if defined(__AVX512BF16__)
    const __m256bh rounded = _mm512_cvtneps_pbh(v);
    __builtin_memcpy(p, &rounded, sizeof(rounded));
#else
    const Words32 bits = bits_as<Words32>(v);
    const Words32 rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    const Halves h = __builtin_convertvector(v == v ? rounded : (bits >> 16) | 0x40u, Halves);
    __builtin_memcpy(p, &h, sizeof(h));
#endif
  }
  static DDPM_INLINE Floats sigmoid(Floats x) { return sigmoid_of<Floats, Ints>(x); }
};

struct OneFloat {
  using Value = float;
  static constexpr int kWidth = 1;
  static DDPM_INLINE float load(const float* p) { return *p; }
  static DDPM_INLINE void store(float* p, float v) { *p = v; }
  static DDPM_INLINE float load(const Bf16* p) {
    return bits_as<float>(static_cast<uint32_t>(p->bits) << 16);
  }
  static DDPM_INLINE void store(Bf16* p, float v) {
    const auto bits = bits_as<uint32_t>(v);
    p->bits = static_cast<uint16_t>(v == v ? (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16
                                           : (bits >> 16) | 0x40u);
  }
  static DDPM_INLINE float sigmoid(float x) { return sigmoid_of<float, int32_t>(x); }
};

struct OneDouble {
  using Value = double;
  static constexpr int kWidth = 1;
  static DDPM_INLINE double load(const double* p) { return *p; }
  static DDPM_INLINE void store(double* p, double v) { *p = v; }
  static DDPM_INLINE double sigmoid(double x) { return 1.0 / (1.0 + __builtin_exp(-x)); }
};

}  // namespace
}  // namespace ddpm::kernels
