#pragma once

#include "ddpm/kernels/group_norm.h"

#include <torch/types.h>

namespace ddpm::kernels {

/// The arguments of kernels/group_norm.h besides x.
struct Norm {
  torch::Tensor weight;  ///< [C]
  torch::Tensor bias;    ///< [C]
  int64_t groups = 1;
  double eps = 1e-6;
  Modulation modulation = {};
};

/// The second half of a residual block: conv3x3(group_norm_silu(x, norm), weight, bias) + residual.
/// x [B,C,H,W], weight [O,C,3,3], bias [O], residual [B,O,H,W] or undefined -> [B,O,H,W].
/// If is_fused, it is one operation that works image by image and writes nothing but its result.
/// Otherwise it is composed of the two.
torch::Tensor norm_silu_conv3x3(const torch::Tensor& x, const Norm& norm,
                                const torch::Tensor& weight, const torch::Tensor& bias,
                                const torch::Tensor& residual = {});

struct FirstHalf {
  torch::Tensor y;         ///< conv3x3(group_norm_silu(x, norm), weight, bias), [B,O,H,W]
  torch::Tensor shortcut;  ///< a 1x1 convolution of x, [B,O,H,W]
};

/// The first half of a residual block whose channels change. x [B,C,H,W]; skip [B,C2,H,W], if
/// defined, is a skip connection that is concatenated to x along the channels. shortcut_weight
/// [O,C+C2,1,1], shortcut_bias [O]. If is_fused, it is one operation, and the concatenated input
/// only exists for one image at a time.
FirstHalf norm_silu_conv3x3_and_shortcut(const torch::Tensor& x, const torch::Tensor& skip,
                                         const Norm& norm, const torch::Tensor& weight,
                                         const torch::Tensor& bias,
                                         const torch::Tensor& shortcut_weight,
                                         const torch::Tensor& shortcut_bias);

/// Whether the two functions above are fused for these arguments here: on a CPU with AVX2 or
/// newer, under autocast to bfloat16, with channels in multiples of 32.
bool is_fused(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias);

}  // namespace ddpm::kernels
