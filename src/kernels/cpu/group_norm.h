#pragma once

#include "../group_norm_math.h"
#include "loops.h"

// GroupNorm on the CPU: two passes over each image's blocks of pixels (group_norm_loops.h) with the
// arithmetic of group_norm_math.h between them. x, y, dy, dx: [B, pixels, channels] of `element`. A
// is double for Element::kDouble, else float.

namespace ddpm::kernels::cpu {

/// Sets y, mean, rstd and channel_mean; uses partial and coefficients.
void group_norm_forward(const GroupNormShape& shape, Element element, const void* x, void* y,
                        const GroupNormArgs<float>& args);
void group_norm_forward(const GroupNormShape& shape, Element element, const void* x, void* y,
                        const GroupNormArgs<double>& args);

/// From dy and the statistics that forward set: dx, and every d_ of the args that is not null.
void group_norm_backward(const GroupNormShape& shape, Element element, const void* x,
                         const void* dy, void* dx, const GroupNormArgs<float>& args);
void group_norm_backward(const GroupNormShape& shape, Element element, const void* x,
                         const void* dy, void* dx, const GroupNormArgs<double>& args);

// The same for one image, for kernels that work image by image. x, y, dy, dx: image b alone,
// [pixels, channels].

void group_norm_forward_image(const GroupNormShape& shape, const Bf16* x, Bf16* y,
                              const GroupNormArgs<float>& args, int64_t b);
/// Computes y again from the statistics that group_norm_forward_image set, and d SiLU(z) / dz.
void group_norm_recompute_image(const GroupNormShape& shape, const Bf16* x, Bf16* y,
                                Bf16* derivative, const GroupNormArgs<float>& args, int64_t b);
/// derivative: as group_norm_recompute_image set it.
void group_norm_backward_image(const GroupNormShape& shape, const Bf16* x, const Bf16* dy,
                               const Bf16* derivative, Bf16* dx, const GroupNormArgs<float>& args,
                               int64_t b);

}  // namespace ddpm::kernels::cpu
