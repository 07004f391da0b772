#pragma once

#include "check.h"
#include "group_norm_slab.cuh"
#include "group_norm_slab16.h"

#include <cuda_runtime.h>

// Launches the passes of group_norm_slab16.h: one kernel per pass, no host sync.

namespace ddpm::kernels::cuda {

/// Blocks of so many threads whose registers must fit into a processor.
constexpr int slab16_min_blocks(int threads, int images, int held) {
  if (threads > 256) return 1;
  return images == 1 ? (held == 8 ? 3 : 4) : (held == 8 ? 2 : 3);
}

template <class Thread, int kImages, int N, int kThreads>
__global__ void __launch_bounds__(kThreads, slab16_min_blocks(kThreads, kImages, N))
    slab16_kernel(const __grid_constant__ GroupNormShape s,
                  const __grid_constant__ GroupNormArgs<float> a,
                  const __grid_constant__ Slab16 slab,
                  const __grid_constant__ GroupNormImages images) {
  extern __shared__ float slab16_shared_memory[];
  Thread thread(s, a, slab, images, blockIdx.x, static_cast<int>(threadIdx.x),
                slab16_shared_memory);
#pragma unroll
  for (int i = 0; i < Thread::kPhases; ++i) {
    thread.phase(i);
    if (i + 1 < Thread::kPhases) __syncthreads();
  }
}

template <class Thread, int kImages, int N>
void launch_slab16(const GroupNormShape& s, const Slab16& slab, const GroupNormImages& images,
                   const GroupNormArgs<float>& a, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(s.batch * (s.groups / slab.groups));
  auto kernel = slab16_kernel<Thread, kImages, N, 256>;
  if constexpr (slab16_max_threads(N) > 256) {
    if (slab.threads > 256) kernel = slab16_kernel<Thread, kImages, N, slab16_max_threads(N)>;
  }
  kernel<<<blocks, slab.threads, slab16_shared(slab), stream>>>(s, a, slab, images);
}

template <class T>
void slab16_forward(const GroupNormShape& s, const Slab16& slab, const GroupNormImages& images,
                    const GroupNormArgs<float>& a, cudaStream_t stream) {
  with_held(slab, [&](auto n, auto full) {
    launch_slab16<Slab16Forward<T, n(), full()>, 1, n()>(s, slab, images, a, stream);
  });
  check_launch("group_norm_forward");
}

template <class T>
void slab16_backward(const GroupNormShape& s, const Slab16& slab, const GroupNormImages& images,
                     const GroupNormArgs<float>& a, cudaStream_t stream) {
  with_held(slab, [&](auto n, auto full) {
    launch_slab16<Slab16Backward<T, n(), full()>, 2, n()>(s, slab, images, a, stream);
  });
  check_launch("group_norm_backward");
}

inline Slab16 slab16_of(const GroupNormShape& s, int images) {
  return plan_slab16(s, images, slab_device(current_device()).processors);
}

}  // namespace ddpm::kernels::cuda
