#pragma once

#include <torch/types.h>

// What a convolution without bias leaves to do: one pass over memory each, on CUDA one kernel.

namespace ddpm::kernels {

/// x [I,R,C], contiguous: the sums over the rows, [I,C], in float32 (float64 for float64). In a
/// fixed order.
torch::Tensor row_sums(const torch::Tensor& x);

/// dy [B,C,H,W], channels_last: the sums over B, H and W, [C], in float32 (float64 for float64): a
/// bias's gradient.
torch::Tensor channel_sums(const torch::Tensor& dy);

/// y += residual + bias per channel, rounded once. y, residual [B,C,H,W], channels_last, of one
/// type; bias [C]; either may be undefined.
void add_bias_residual_(const torch::Tensor& y, const torch::Tensor& bias,
                        const torch::Tensor& residual);

}  // namespace ddpm::kernels
