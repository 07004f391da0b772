#pragma once

#include "../group_norm_math.h"
#include "channel_operations.h"
#include "ddpm/base/philox.h"
#include "multi_tensor.h"
#include "thin_convolution.h"

#include <cstdint>
#include <type_traits>

// The CUDA kernels as a table of functions, free of torch headers. Each function queues its work on
// `stream`, a cudaStream_t of the current device, without a host sync. All pointers are device
// pointers. kernels.cpp fills the table; none.cpp takes its place in a build without nvcc.

namespace ddpm::kernels::cuda {

/// Images of `element`, no size 0. As kernels::cpu::group_norm_*; images of which whole groups fit on chip (group_norm_slab_plan.h) use neither partial nor
/// coefficients.
template <class A>
struct GroupNormKernels {
  void (*forward)(const GroupNormShape& shape, Element element, const GroupNormImages& images,
                  const GroupNormArgs<A>& args, void* stream);
  void (*backward)(const GroupNormShape& shape, Element element, const GroupNormImages& images,
                   const GroupNormArgs<A>& args, void* stream);
};

struct CudaKernels {
  GroupNormKernels<float> group_norm_f32;
  /// For Element::kDouble.
  GroupNormKernels<double> group_norm_f64;
  /// out[b * row_size + e] ~ N(0,1) in float32.
  void (*normal)(float* out, int64_t rows, int64_t row_size, const int64_t* ids, RngKey key,
                 uint32_t step, void* stream);
  /// out[b] uniform in low .. low + count - 1.
  void (*uniform_int)(int64_t* out, int64_t rows, const int64_t* ids, RngKey key, int64_t low,
                      uint32_t count, void* stream);

  /// 10 times the major number plus the minor one.
  int (*compute_capability)(int device);
  decltype(&cuda::row_sums) row_sums;
  decltype(&cuda::add_bias_residual) add_bias_residual;
  decltype(&cuda::upsample) upsample;
  decltype(&cuda::upsample_backward) upsample_backward;
  decltype(&cuda::convert) convert;
  decltype(&cuda::lerp) lerp;
  decltype(&cuda::thin_to_wide) thin_to_wide;
  decltype(&cuda::wide_to_thin) wide_to_thin;
  decltype(&cuda::thin_wide_products) thin_wide_products;

  template <class A>
  const GroupNormKernels<A>& group_norm() const {
    if constexpr (std::is_same_v<A, double>) {
      return group_norm_f64;
    } else {
      return group_norm_f32;
    }
  }
};

/// nullptr in a build without nvcc.
const CudaKernels* cuda_kernels();

}  // namespace ddpm::kernels::cuda
