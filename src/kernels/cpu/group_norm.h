#pragma once

#include "../cuda/group_norm.h"
#include "loops.h"

// One image's GroupNorm on the CPU, for what works image by image. x, y, dy, dx: image b alone,
// [pixels, channels].

namespace ddpm::kernels::cpu {

/// As group_norm_forward of image b.
void group_norm_image(const GroupNormShape& shape, const Bf16* x, Bf16* y,
                      const GroupNormArgs<float>& args, int64_t b);
/// y once more, from the statistics that group_norm_image left, and d SiLU(z) / dz.
void group_norm_image_again(const GroupNormShape& shape, const Bf16* x, Bf16* y, Bf16* slope,
                            const GroupNormArgs<float>& args, int64_t b);
/// As group_norm_backward of image b, with the slope that group_norm_image_again left.
void group_norm_image_backward(const GroupNormShape& shape, const Bf16* x, const Bf16* dy,
                               const Bf16* slope, Bf16* dx, const GroupNormArgs<float>& args,
                               int64_t b);

}  // namespace ddpm::kernels::cpu
