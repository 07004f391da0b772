#pragma once

#include "ddpm/kernels/norm_convolution.h"

#include <torch/types.h>

namespace ddpm::kernels {

/// A 3x3 or 1x1 convolution's parameters.
struct ConvParameters {
  torch::Tensor weight;  ///< [O,C,k,k]
  torch::Tensor bias;    ///< [O]
};

/// A residual block (Ho 2020, App. B):
///   h = conv1(SiLU(norm1(x))),  y = conv2(dropout(SiLU(norm2(h)))) + shortcut(x).
/// norm2's modulation brings in the time embedding.
struct ResidualBlock {
  Norm norm1;
  ConvParameters conv1;
  Norm norm2;
  double dropout = 0.0;  ///< 0 <= p < 1
  ConvParameters conv2;
  ConvParameters shortcut;  ///< 1x1; undefined: x itself
};

/// x [B,C,H,W]; skip [B,C2,H,W], if defined, is concatenated to x along the channels; around: x
/// again, for the shortcut. Returns [B,O,H,W]. On a GPU it is one operation: norm, SiLU and dropout
/// in one kernel, which reads x and skip unjoined; conv1's bias is added by norm2; conv2's bias and
/// the shortcut are added in one pass; so are the two gradients of x. No mask of dropout is stored.
/// The weights may be in autocast's type already. On a CPU it is the two halves of
/// norm_convolution.h.
torch::Tensor residual_block(const ResidualBlock& block, const torch::Tensor& x,
                             const torch::Tensor& around, const torch::Tensor& skip = {});

}  // namespace ddpm::kernels
