#pragma once

#include <torch/types.h>

// The 3x3 convolution of stride 1 with a border of one zero in float32, by Winograd's F(2x2, 3x3)
// (Lavin and Gray 2016, Sec. 4.1). The output is computed in patches of 2x2 pixels, each from a
// patch d of 4x4 input pixels:
//   y = A' [(G w G') * (B' d B)] A,
// with * elementwise, summed over the input channels. That is 16 multiplications per patch and pair
// of channels instead of 36. The sums are 16 matrix products over all patches.
// Rounding errors are about twice those of the direct sum.

namespace ddpm::kernels::cpu {

/// Whether the functions below support these and are worth it: float32 on the CPU without autocast,
/// x channels_last, channels in multiples of 32 (16 with AVX2), enough pixels.
bool can_use_winograd(const torch::Tensor& x, const torch::Tensor& weight,
                      const torch::Tensor& bias);

/// x [B,C,H,W] channels_last, weight [O,C,3,3], bias [O] -> [B,O,H,W] channels_last.
torch::Tensor winograd_forward(const torch::Tensor& x, const torch::Tensor& weight,
                               const torch::Tensor& bias);

/// The gradient of x from dy [B,O,H,W] channels_last: the convolution of dy with the transposed
/// weights.
torch::Tensor winograd_input_gradient(const torch::Tensor& dy, const torch::Tensor& weight);

/// The gradient of weight: G' M G with M = sum over all patches of (B' d B) * (A dy A'). Each
/// thread adds its part of the patches; the parts are added in the order of the threads.
torch::Tensor winograd_weight_gradient(const torch::Tensor& x, const torch::Tensor& dy,
                                       const torch::Tensor& weight);

}  // namespace ddpm::kernels::cpu
