#pragma once

#include "ddpm/base/philox.h"

#include <cstdint>

// Dropout (Srivastava et al. 2014) whose mask is computed, not stored: number `at` of a tensor, in
// the order of memory, is kept if 16 random bits, a function of (key, at) alone, reach a threshold.
// The backward pass draws the same bits again. Shared by host code and CUDA kernels.

namespace ddpm::kernels {

struct Dropout {
  const int64_t* key = nullptr;  ///< one number, where the images are; null: nothing is dropped
  uint32_t threshold = 0;        ///< of 65536: the probability of being dropped
  float scale = 1.0f;            ///< what is kept is multiplied by 65536 / (65536 - threshold)
};

/// p, rounded to 1 / 65536; 0 <= p < 1.
inline Dropout dropout_of(double p, const int64_t* key) {
  const auto threshold = static_cast<uint32_t>(p * 65536.0 + 0.5);
  const uint32_t dropped = threshold < 65535 ? threshold : 65535;
  return {key, dropped, static_cast<float>(65536.0 / (65536.0 - dropped))};
}

DDPM_HOST_DEVICE inline RngKey dropout_key(const Dropout& dropout) {
  if (!dropout.key) return {};
  const auto bits = static_cast<uint64_t>(*dropout.key);
  return {{static_cast<uint32_t>(bits), static_cast<uint32_t>(bits >> 32)}};
}

/// Multiplies the V numbers from number `at` on by 0 or scale. at is a multiple of V, and V divides
/// 8: they share one block of random words.
template <class A, int V>
DDPM_HOST_DEVICE void drop(A (&v)[V], const Dropout& dropout, RngKey key, int64_t at) {
  static_assert(8 % V == 0);
  const Words words = philox(key, static_cast<uint64_t>(at) / 8, 0, 0);
  const int first = static_cast<int>(at % 8);
  for (int i = 0; i < V; ++i) {
    const int lane = V == 8 ? i : first + i;
    const uint32_t bits = (words.w[lane / 2] >> (16 * (lane % 2))) & 0xFFFFu;
    v[i] *= bits >= dropout.threshold ? static_cast<A>(dropout.scale) : A(0);
  }
}

/// Bit i: whether number at + i is kept; at is a multiple of 8.
DDPM_HOST_DEVICE inline uint32_t kept_of_8(const Dropout& dropout, RngKey key, int64_t at) {
  const Words words = philox(key, static_cast<uint64_t>(at) / 8, 0, 0);
  uint32_t kept = 0;
  for (int i = 0; i < 8; ++i) {
    const uint32_t bits = (words.w[i / 2] >> (16 * (i % 2))) & 0xFFFFu;
    kept |= (bits >= dropout.threshold ? 1u : 0u) << i;
  }
  return kept;
}

}  // namespace ddpm::kernels
