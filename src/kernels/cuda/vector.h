#pragma once

#include "ddpm/base/philox.h"  // DDPM_HOST_DEVICE

#include <cmath>

#ifdef __CUDACC__
#include <cuda_pipeline_primitives.h>
#endif

// What the GroupNorm kernels do with a few numbers at once: vector loads and stores of 16 bytes,
// asynchronous copies to shared memory, and SiLU. Also compiled for the host, where tests run the
// kernels' phases.

namespace ddpm::kernels {

/// V numbers as one load or store.
template <class T, int V>
struct alignas(sizeof(T) * V) Pack {
  T v[V];
};

/// 16 bytes as four registers. (As an array of 16-bit numbers each would take a register.)
struct alignas(16) Words16 {
  uint32_t w[4];
};

/// One access of 16 bytes. (Left to itself the compiler takes the words apart, and the second-level
/// cache is then busy with four times as many accesses.)
DDPM_HOST_DEVICE inline Words16 load_words(const void* from) {
#ifdef __CUDA_ARCH__
  Words16 v;
  asm volatile("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.w[0]), "=r"(v.w[1]), "=r"(v.w[2]), "=r"(v.w[3])
               : "l"(from));
  return v;
#else
  return *static_cast<const Words16*>(from);
#endif
}
DDPM_HOST_DEVICE inline void store_words(void* to, const Words16& v) {
#ifdef __CUDA_ARCH__
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(v.w[0]), "r"(v.w[1]),
               "r"(v.w[2]), "r"(v.w[3])
               : "memory");
#else
  *static_cast<Words16*>(to) = v;
#endif
}

/// Copies to shared memory, past the registers (cp.async) if there is such an instruction. After
/// end_copies the thread itself sees the copies; the others see them after the next barrier.
template <class P>
DDPM_HOST_DEVICE void begin_copy(P* to, const P* from) {
#ifdef __CUDA_ARCH__
  if constexpr (sizeof(P) >= 4) {
    __pipeline_memcpy_async(to, from, sizeof(P));
  } else {
    *to = *from;
  }
#else
  *to = *from;
#endif
}

DDPM_HOST_DEVICE inline void end_copies() {
#ifdef __CUDA_ARCH__
  __pipeline_commit();
  __pipeline_wait_prior(0);
#endif
}

DDPM_HOST_DEVICE inline double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

/// On a GPU by approximations, as exact arithmetic would take longer than memory: relative error
/// below (5 + 1.2 |x|) 2^-23 by the bounds of the CUDA C++ Programming Guide; results below 2^-126
/// are 0.
DDPM_HOST_DEVICE inline float sigmoid(float x) {
#ifdef __CUDA_ARCH__
  // 1 / (1 + 2^(-x / ln 2)) in four instructions: the functions of the CUDA headers add several for
  // numbers below 2^-126.
  float power, result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x * -1.4426950408889634f));
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(1.0f + power));
  return result;
#else
  return 1.0f / (1.0f + std::exp(-x));
#endif
}

/// dz from dy: d SiLU(z) / dz = s (1 + z (1 - s)), s = sigmoid(z).
template <class A>
DDPM_HOST_DEVICE A through_silu(A dy, A z) {
  const A s = sigmoid(z), rest = z - z * s;
  return dy * (s + s * rest);
}

}  // namespace ddpm::kernels
