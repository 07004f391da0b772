#pragma once

#include "amx/tiles.h"
#include "ddpm/kernels/residual_block.h"

#include <torch/types.h>

namespace ddpm::kernels {

/// Whether fused_conv3x3 supports these here: on a CPU with AVX2 or newer, under autocast to
/// bfloat16, with float32 weights and channels in multiples of 32.
bool can_fuse_conv3x3(const torch::Tensor& x, const torch::Tensor& weight,
                      const torch::Tensor& bias);

/// The tensors of a fused convolution; those with a default may be undefined.
struct FusedConvInputs {
  torch::Tensor x;                     ///< [B,C,H,W]
  torch::Tensor weight, bias;          ///< [O,C+C2,3,3], [O]
  Norm norm = {};                      ///< no norm if its weight is undefined
  torch::Tensor residual = {};         ///< [B,O,H,W], added to the result
  torch::Tensor skip = {};             ///< [B,C2,H,W], concatenated to x along the channels
  torch::Tensor shortcut_weight = {};  ///< [O,C+C2,1,1]
  torch::Tensor shortcut_bias = {};    ///< [O]
};

struct FusedConvOutputs {
  torch::Tensor y;         ///< [B,O,H,W]
  torch::Tensor shortcut;  ///< the 1x1 convolution of the input, if its weight is defined
};

/// y = conv3x3(SiLU(GroupNorm(input))) + residual, or without the norm y = conv3x3(input) +
/// residual, in bfloat16 with sums in float32 (amx/conv_forward.h). The values between norm and
/// convolution are computed again in the backward pass. `loops`: amx::tile_loops(); tests
/// pass those of other processors as well.
FusedConvOutputs fused_conv3x3(const amx::ConvLoops& loops, const FusedConvInputs& in);

}  // namespace ddpm::kernels
