#pragma once

#include <cmath>
#include <cstdint>

// Philox4x32-10 (Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3"): a pure
// function from (counter, key) to 128 random bits. Shared by host code and CUDA kernels, so it
// includes no torch header.

#ifdef __CUDACC__
#define DDPM_HOST_DEVICE __host__ __device__
#else
#define DDPM_HOST_DEVICE
#endif

namespace ddpm {

/// Four 32-bit random words.
struct Words {
  uint32_t w[4];
};

/// Key of a stream of random numbers; rng_key (base/rng.h) makes it from a seed and a purpose.
struct RngKey {
  uint32_t k[2];
};

/// The random words at position `index` of row `id` and step `step` of the stream `key`.
DDPM_HOST_DEVICE inline Words philox(RngKey key, uint64_t id, uint32_t step, uint32_t index) {
  uint32_t c0 = index, c1 = step, c2 = static_cast<uint32_t>(id),
           c3 = static_cast<uint32_t>(id >> 32);
  uint32_t k0 = key.k[0], k1 = key.k[1];
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c0;
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c0 = n0;
    c1 = static_cast<uint32_t>(p1);
    c2 = n2;
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return Words{{c0, c1, c2, c3}};
}

/// Uniform in (0, 1): 23 bits, centred in their cell. With one more bit the sum would be rounded,
/// and the largest value would become 1.
DDPM_HOST_DEVICE inline float uniform_open(uint32_t word) {
  return (static_cast<float>(word >> 9) + 0.5f) * (1.0f / 8388608.0f);
}

/// Uniform integer in [0, n), n < 2^32, by multiplication (bias below n / 2^32).
DDPM_HOST_DEVICE inline uint32_t uniform_below(uint32_t word, uint32_t n) {
  return static_cast<uint32_t>((uint64_t{word} * n) >> 32);
}

/// Two words to two independent N(0,1) values (Box and Muller 1958).
DDPM_HOST_DEVICE inline void box_muller(uint32_t a, uint32_t b, float* first, float* second) {
  const float radius = sqrtf(-2.0f * logf(uniform_open(a)));
  const float angle = 6.283185307179586f * uniform_open(b);
  *first = radius * cosf(angle);
  *second = radius * sinf(angle);
}

}  // namespace ddpm
