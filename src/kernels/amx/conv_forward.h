#pragma once

#include "conv_input.h"
#include "conv_shapes.h"
#include "tiles.h"

#include <torch/types.h>

// The forward pass of the fused convolution, half a residual block (Ho 2020, App. B):
//   y = conv3x3(h) + residual,  shortcut = conv1x1(input),
//   h = SiLU(GroupNorm(input)), or the input itself if there is no norm.
// It works image by image, so that h of one image is still in the cache when it is convolved.
// Separate operations would write h of the full batch to memory and read it back.

namespace ddpm::kernels::amx {

/// A convolution's weight and bias; undefined if there is no such convolution.
struct ConvWeights {
  torch::Tensor weight, bias;
};

/// y and, if there is a 1x1 convolution, its result: [B,O,H,W], bfloat16, channels_last.
struct ConvOutputs {
  torch::Tensor y, shortcut;
};

struct ConvForwardInputs {
  const ConvLoops& loops;
  const ConvShape& shape;
  const ConvInput& input;
  const InputNorm& norm;
  ConvWeights conv;        ///< [O,C,3,3], [O]
  ConvWeights shortcut;    ///< [O,C,1,1], [O], or undefined
  torch::Tensor residual;  ///< [B,O,H,W], or undefined
};

/// Also sets the norm's statistics.
ConvOutputs conv_forward(const ConvForwardInputs& inputs);

}  // namespace ddpm::kernels::amx
