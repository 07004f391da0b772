#pragma once

#include "ddpm/kernels/residual_block.h"

#include <torch/types.h>

namespace ddpm::kernels {

/// Whether fused_block is made for this block and x: on a GPU, channels_last, and x has the
/// shortcut's channels if there is none.
bool can_fuse_block(const ResidualBlock& block, const torch::Tensor& x, const torch::Tensor& skip);

/// residual_block as one autograd function, on any device that has_norm_kernel. All images and
/// weights of convolutions in one type; biases and norms float32 (float64 for float64).
/// dropout_key: int64 [1] on x's device; undefined if nothing is dropped.
torch::Tensor fused_block(const ResidualBlock& block, const torch::Tensor& x,
                          const torch::Tensor& skip, const torch::Tensor& dropout_key);

}  // namespace ddpm::kernels
