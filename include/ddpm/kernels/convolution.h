#pragma once

#include <torch/types.h>

namespace ddpm::kernels {

/// The 3x3 convolution of stride 1 with a border of one zero, as at::conv2d: x [B,C,H,W], weight
/// [O,C,3,3], bias [O] -> [B,O,H,W].
/// On the CPU, in float32, forward and backward use Winograd's F(2x2, 3x3), if x is channels_last
/// and C and O are multiples of 32 (16 with AVX2). It takes 4 multiplications per result instead of
/// 9; rounding errors are about twice those of the direct sum.
/// On a CPU with AVX2 or newer, under autocast to bfloat16, they are our own (amx/conv_forward.h),
/// if C and O are multiples of 32. x and the result are then bfloat16; sums and the weights'
/// gradients are float32.
/// Otherwise, and for few pixels, it is at::conv2d; on a GPU convolution() below.
torch::Tensor conv3x3(const torch::Tensor& x, const torch::Tensor& weight,
                      const torch::Tensor& bias);

/// at::conv2d. On a GPU, in autocast's type, the bias is added, and its gradient summed, in float32,
/// by one pass over memory each. weight may be in autocast's type already.
torch::Tensor convolution(const torch::Tensor& x, const torch::Tensor& weight,
                          const torch::Tensor& bias, int64_t stride, int64_t padding);

/// The 3x3 convolution of stride 1 with a border of one zero, as at::conv2d, between an image of
/// few channels and a map of many: a network's first and last one. x [B,C,H,W] of any type, weight
/// [O,C,3,3], bias [O] -> [B,O,H,W] of `type`, channels_last. It is computed in weight's type; x
/// and the result are converted. On a GPU, with at most 8 channels on one side, an even number on
/// the other, and float32 weights, it is a kernel of ours, forward and backward. Otherwise, and on
/// a CPU, it is ATen's.
torch::Tensor thin_convolution(const torch::Tensor& x, const torch::Tensor& weight,
                               const torch::Tensor& bias, torch::Dtype type);

/// Each pixel four times (nearest neighbour): [B,C,H,W] -> [B,C,2H,2W]. In x's type also under
/// autocast on a GPU, which would compute it in float32. There it is a kernel of ours if x is
/// channels_last.
torch::Tensor upsample_nearest(const torch::Tensor& x);

}  // namespace ddpm::kernels
