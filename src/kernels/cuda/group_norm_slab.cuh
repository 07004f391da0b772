#pragma once

#include "check.h"
#include "group_norm_slab.h"

#include <atomic>
#include <vector>

#include <cuda_runtime.h>

// Launches the passes of group_norm_slab.h: one kernel per pass, no host sync.

namespace ddpm::kernels::cuda {

/// Blocks of slab_max_threads threads whose registers must fit into a processor: three of 256, two
/// of 512; one for float64 and for single channels, whose speed does not matter.
template <class A>
constexpr int slab_min_blocks(int vector) {
  return sizeof(A) == sizeof(double) || vector == 1 ? 1 : vector > 4 ? 3 : 2;
}

template <class T, class A, int V>
__global__ void __launch_bounds__(slab_max_threads(V), slab_min_blocks<A>(V))
    slab_forward_kernel(const __grid_constant__ GroupNormShape s,
                        const __grid_constant__ GroupNormArgs<A> a, Slab slab,
                        const __grid_constant__ GroupNormImages images) {
  extern __shared__ __align__(16) unsigned char shared[];
  using Thread = SlabForward<T, A, V>;
  Thread thread(s, a, slab, images, blockIdx.x, static_cast<int>(threadIdx.x), shared);
#pragma unroll
  for (int i = 0; i < Thread::kPhases; ++i) {
    thread.phase(i);
    __syncthreads();
  }
}

template <class T, class A, int V>
__global__ void __launch_bounds__(slab_max_threads(V), slab_min_blocks<A>(V))
    slab_backward_kernel(const __grid_constant__ GroupNormShape s,
                         const __grid_constant__ GroupNormArgs<A> a, Slab slab,
                         const __grid_constant__ GroupNormImages images) {
  extern __shared__ __align__(16) unsigned char shared[];
  using Thread = SlabBackward<T, A, V>;
  Thread thread(s, a, slab, images, blockIdx.x, static_cast<int>(threadIdx.x), shared);
#pragma unroll
  for (int i = 0; i < Thread::kPhases; ++i) {
    thread.phase(i);
    __syncthreads();
  }
}

inline int current_device() {
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  return device;
}

/// Queried once for all devices.
inline const SlabDevice& slab_device(int device) {
  static const std::vector<SlabDevice> devices = [] {
    int count = 0;
    check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
    std::vector<SlabDevice> all;
    for (int i = 0; i < count; ++i) {
      const auto attribute = [&](cudaDeviceAttr which) {
        int value = 0;
        check(cudaDeviceGetAttribute(&value, which, i), "cudaDeviceGetAttribute");
        return int64_t{value};
      };
      all.push_back({attribute(cudaDevAttrMultiProcessorCount),
                     attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin),
                     attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor)});
    }
    return all;
  }();
  return devices.at(device);
}

/// Once per kernel and device: permits launches to use all shared memory, and gives it precedence
/// over the first-level cache, which is in the same memory.
template <auto kKernel>
void allow_all_shared_memory(int device) {
  // One bit per device; devices beyond 64 are set every time.
  static std::atomic<uint64_t> done{0};
  const uint64_t bit = device < 64 ? uint64_t{1} << device : 0;
  if (done.load(std::memory_order_acquire) & bit) return;
  const auto set = [](cudaFuncAttribute what, int64_t value) {
    check(cudaFuncSetAttribute(kKernel, what, static_cast<int>(value)), "cudaFuncSetAttribute");
  };
  set(cudaFuncAttributeMaxDynamicSharedMemorySize, slab_device(device).shared_per_block);
  set(cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared);
  done.fetch_or(bit, std::memory_order_release);
}

template <class T, class A, int V>
Slab slab_of(const GroupNormShape& s, int images) {
  return plan_slab(s, {sizeof(T), sizeof(A), V}, images, slab_device(current_device()));
}

inline unsigned slab_blocks(const GroupNormShape& s, const Slab& slab) {
  return static_cast<unsigned>(s.batch * (s.groups / slab.groups));
}

template <class T, class A, int V>
void slab_forward(const GroupNormShape& s, const Slab& slab, const GroupNormImages& images,
                  const GroupNormArgs<A>& a, cudaStream_t stream) {
  constexpr auto kKernel = slab_forward_kernel<T, A, V>;
  allow_all_shared_memory<kKernel>(current_device());
  kKernel<<<slab_blocks(s, slab), slab.threads, slab.shared, stream>>>(s, a, slab, images);
  check_launch("group_norm_forward");
}

template <class T, class A, int V>
void slab_backward(const GroupNormShape& s, const Slab& slab, const GroupNormImages& images,
                   const GroupNormArgs<A>& a, cudaStream_t stream) {
  constexpr auto kKernel = slab_backward_kernel<T, A, V>;
  allow_all_shared_memory<kKernel>(current_device());
  kKernel<<<slab_blocks(s, slab), slab.threads, slab.shared, stream>>>(s, a, slab, images);
  check_launch("group_norm_backward");
}

}  // namespace ddpm::kernels::cuda
