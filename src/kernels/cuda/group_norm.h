#pragma once

#include "../group_norm_math.h"

// GroupNorm on CUDA: in one launch per pass if whole groups of an image fit into a thread block's
// shared memory (group_norm_slab.h), else in three (group_norm_blocks.cuh). kernels.h describes the
// arguments.

namespace ddpm::kernels::cuda {

void group_norm_forward(const GroupNormShape& shape, Element element, const GroupNormImages& images,
                        const GroupNormArgs<float>& args, void* stream);
void group_norm_forward(const GroupNormShape& shape, Element element, const GroupNormImages& images,
                        const GroupNormArgs<double>& args, void* stream);
void group_norm_backward(const GroupNormShape& shape, Element element,
                         const GroupNormImages& images, const GroupNormArgs<float>& args,
                         void* stream);
void group_norm_backward(const GroupNormShape& shape, Element element,
                         const GroupNormImages& images, const GroupNormArgs<double>& args,
                         void* stream);

}  // namespace ddpm::kernels::cuda
