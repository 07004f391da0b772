#pragma once

#include "group_norm_math.h"

#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/types.h>

// Calls of CUDA kernels from files that see no CUDA header.

namespace ddpm::kernels {

inline Element element_of(const torch::Tensor& x) {
  switch (x.scalar_type()) {
    case torch::kDouble:
      return Element::kDouble;
    case torch::kBFloat16:
      return Element::kBFloat16;
    case torch::kHalf:
      return Element::kFloat16;
    default:
      return Element::kFloat;
  }
}

/// call(stream), with the current stream of x's device as a raw cudaStream_t. A stream accepts work
/// only while its device is the current one.
template <class Call>
void on_stream(const torch::Tensor& x, const Call& call) {
  const c10::DeviceGuard on(x.device());
  const c10::impl::VirtualGuardImpl guard(x.device().type());
  call(guard.getStreamNativeHandle(guard.getStream(x.device())));
}

}  // namespace ddpm::kernels
