#pragma once

#include "loops.h"
#include "simd.h"

// GroupNorm's passes over one block of pixels, [pixels, channels] in memory. group_norm_math.h has
// the formulas and what happens between the passes. Vectors run along the channels. Their sums or
// coefficients stay in registers for all pixels of the block.

namespace ddpm::kernels {
namespace {

/// Calls body(pack, c) for vectors of channels, then for the remaining channels one by one.
template <class A, class Body>
DDPM_INLINE void for_channels(int64_t channels, const Body& body) {
  int64_t c = 0;
  if constexpr (sizeof(A) == sizeof(float)) {
    for (; c + kLanes <= channels; c += kLanes) body(FloatPack{}, c);
    for (; c < channels; ++c) body(OneFloat{}, c);
  } else {
    for (; c < channels; ++c) body(OneDouble{}, c);
  }
}

template <class Pack, class Value>
DDPM_INLINE void store_pairs(double* to, const Value& first, const Value& second) {
  if constexpr (Pack::kWidth == 1) {
    to[0] = first;
    to[1] = second;
  } else {
    for (int i = 0; i < Pack::kWidth; ++i) {
      to[2 * i] = first[i];
      to[2 * i + 1] = second[i];
    }
  }
}

struct True {
  static constexpr bool kValue = true;
};
struct False {
  static constexpr bool kValue = false;
};

/// partial[c] = (mean, sum of squared deviations). Sums are of x minus the block's first pixel, so
/// that a mean far from 0 loses no digits.
template <class T, class A>
void block_moments(const T* x, int64_t pixels, int64_t channels, double* partial) {
  for_channels<A>(channels, [&](auto pack, int64_t c) {
    using Pack = decltype(pack);
    using V = typename Pack::Value;
    const V origin = Pack::load(x + c);
    V sum{}, square{};
    for (int64_t p = 1; p < pixels; ++p) {
      const V d = Pack::load(x + p * channels + c) - origin;
      sum += d;
      square += d * d;
    }
    const V mean = sum / static_cast<A>(pixels);
    const V deviation = square - sum * mean;
    store_pairs<Pack>(partial + 2 * c, V(origin + mean), V(deviation < 0 ? V{} : deviation));
  });
}

/// Calls body(with SiLU?, with its derivative from memory?); the arguments are True or False.
template <class T, class Body>
DDPM_INLINE void dispatch_silu(bool silu, const T* derivative, const Body& body) {
  if (!silu) return body(False{}, False{});
  derivative ? body(True{}, True{}) : body(True{}, False{});
}

/// y = z, or SiLU(z), with z = (x - k0) k1 + k2. derivative: set to d SiLU(z) / dz unless null.
template <class T, class A>
void block_apply(const T* x, T* y, T* derivative, int64_t pixels, int64_t channels, const A* k,
                 bool silu) {
  dispatch_silu(silu, derivative, [&](auto with_silu, auto with_derivative) {
    for_channels<A>(channels, [&](auto pack, int64_t c) {
      using Pack = decltype(pack);
      using V = typename Pack::Value;
      const V k0 = Pack::load(k + c), k1 = Pack::load(k + channels + c),
              k2 = Pack::load(k + 2 * channels + c);
      for (int64_t i = c; i < pixels * channels; i += channels) {
        const V z = (Pack::load(x + i) - k0) * k1 + k2;
        if constexpr (decltype(with_silu)::kValue) {
          const V s = Pack::sigmoid(z), zs = z * s;
          Pack::store(y + i, zs);
          if constexpr (decltype(with_derivative)::kValue)
            Pack::store(derivative + i, V(s + zs * (V{} + 1 - s)));
        } else {
          Pack::store(y + i, z);
        }
      }
    });
  });
}

/// dz from dy: with s = sigmoid(z), d SiLU(z) / dz = s (1 + z (1 - s)).
template <class Pack, class V>
DDPM_INLINE V through_silu(V dy, V z) {
  const V s = Pack::sigmoid(z);
  return dy * (s * (V{} + 1 + z * (V{} + 1 - s)));
}

/// partial[c] = (sum of dz, sum of dz (x - k0)). derivative: as block_apply set it, or null.
template <class T, class A>
void block_sums(const T* x, const T* dy, const T* derivative, int64_t pixels, int64_t channels,
                const A* k, bool silu, double* partial) {
  dispatch_silu(silu, derivative, [&](auto with_silu, auto with_derivative) {
    for_channels<A>(channels, [&](auto pack, int64_t c) {
      using Pack = decltype(pack);
      using V = typename Pack::Value;
      const V k0 = Pack::load(k + c), k1 = Pack::load(k + channels + c),
              k2 = Pack::load(k + 2 * channels + c);
      V sum{}, product{};
      for (int64_t i = c; i < pixels * channels; i += channels) {
        const V d = Pack::load(x + i) - k0;
        V dz = Pack::load(dy + i);
        if constexpr (decltype(with_derivative)::kValue) {
          dz *= Pack::load(derivative + i);
        } else if constexpr (decltype(with_silu)::kValue) {
          dz = through_silu<Pack>(dz, V(d * k1 + k2));
        }
        sum += dz;
        product += dz * d;
      }
      store_pairs<Pack>(partial + 2 * c, sum, product);
    });
  });
}

/// dx = k1 dz + k3 + (x - k0) k4.
template <class T, class A>
void block_gradient(const T* x, const T* dy, const T* derivative, T* dx, int64_t pixels,
                    int64_t channels, const A* k, bool silu) {
  dispatch_silu(silu, derivative, [&](auto with_silu, auto with_derivative) {
    for_channels<A>(channels, [&](auto pack, int64_t c) {
      using Pack = decltype(pack);
      using V = typename Pack::Value;
      const V k0 = Pack::load(k + c), k1 = Pack::load(k + channels + c),
              k2 = Pack::load(k + 2 * channels + c);
      const V k3 = Pack::load(k + 3 * channels + c), k4 = Pack::load(k + 4 * channels + c);
      for (int64_t i = c; i < pixels * channels; i += channels) {
        const V d = Pack::load(x + i) - k0;
        V dz = Pack::load(dy + i);
        if constexpr (decltype(with_derivative)::kValue) {
          dz *= Pack::load(derivative + i);
        } else if constexpr (decltype(with_silu)::kValue) {
          dz = through_silu<Pack>(dz, V(d * k1 + k2));
        }
        Pack::store(dx + i, k1 * dz + (k3 + d * k4));
      }
    });
  });
}

template <class T, class A>
constexpr GroupNormLoops<T, A> group_norm_loops() {
  return {block_moments<T, A>, block_apply<T, A>, block_sums<T, A>, block_gradient<T, A>};
}

}  // namespace
}  // namespace ddpm::kernels
