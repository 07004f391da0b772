#pragma once

#include <torch/types.h>

namespace ddpm::kernels {

/// The 3x3 convolution of stride 1 with a border of one zero, as at::conv2d, between an image of
/// few channels and a map of many: a network's first and last one. x [B,C,H,W] of any type, weight
/// [O,C,3,3], bias [O] -> [B,O,H,W] of `type`, channels_last. It is computed in weight's type; x
/// and the result are converted. On a GPU, with at most 8 channels on one side, an even number on
/// the other, and float32 weights, it is a kernel of ours, forward and backward. Otherwise, and on
/// a CPU, it is ATen's.
torch::Tensor thin_convolution(const torch::Tensor& x, const torch::Tensor& weight,
                               const torch::Tensor& bias, torch::Dtype type);

}  // namespace ddpm::kernels
