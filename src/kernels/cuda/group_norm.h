#pragma once

#include "../group_norm_math.h"

// The CPU's and the CUDA side of kernels/group_norm.h, free of torch headers. x, y, dy, dx:
// [B, pixels, channels] of `element`; pointers are of the device's memory; stream is a
// cudaStream_t. A is double for Element::kDouble, else float.

namespace ddpm::kernels {

enum class Element { kFloat, kDouble, kBFloat16, kFloat16 };

namespace cpu {

/// Sets y, mean, rstd and channel_mean; uses partial and coefficients.
void group_norm_forward(const GroupNormShape& shape, Element element, const void* x, void* y,
                        const GroupNormArgs<float>& args);
void group_norm_forward(const GroupNormShape& shape, Element element, const void* x, void* y,
                        const GroupNormArgs<double>& args);

/// From dy, and what forward set: dx and every d_ of the args that is not null.
void group_norm_backward(const GroupNormShape& shape, Element element, const void* x,
                         const void* dy, void* dx, const GroupNormArgs<float>& args);
void group_norm_backward(const GroupNormShape& shape, Element element, const void* x,
                         const void* dy, void* dx, const GroupNormArgs<double>& args);

}  // namespace cpu

namespace cuda {

/// As above, queued on the stream, which must be of the current device; no size may be 0. Images of
/// which whole groups fit on chip (group_norm_slab_plan.h) use neither partial nor coefficients.
/// src/kernels/cuda/group_norm.cu defines them; src/kernels/no_cuda/group_norm.cpp stands in
/// without nvcc.
void group_norm_forward(const GroupNormShape& shape, Element element, const void* x, void* y,
                        const GroupNormArgs<float>& args, void* stream);
void group_norm_forward(const GroupNormShape& shape, Element element, const void* x, void* y,
                        const GroupNormArgs<double>& args, void* stream);
void group_norm_backward(const GroupNormShape& shape, Element element, const void* x,
                         const void* dy, void* dx, const GroupNormArgs<float>& args, void* stream);
void group_norm_backward(const GroupNormShape& shape, Element element, const void* x,
                         const void* dy, void* dx, const GroupNormArgs<double>& args, void* stream);

}  // namespace cuda
}  // namespace ddpm::kernels
