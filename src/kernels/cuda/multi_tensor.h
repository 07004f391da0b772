#pragma once

#include "../group_norm_math.h"  // Element

#include <cstdint>

// One operation on many tensors in few launches.

namespace ddpm::kernels::cuda {

/// Two tensors of `count` numbers, dense, in one order.
struct Span {
  const void* from;
  void* to;
  int64_t count;
};

/// to = from, from float32 to bfloat16 or back.
void convert(Element from, const Span* spans, int64_t count, void* stream);

/// to += weight (from - to), float32; weight: one number on the device.
void lerp(const Span* spans, int64_t count, const float* weight, void* stream);

}  // namespace ddpm::kernels::cuda
