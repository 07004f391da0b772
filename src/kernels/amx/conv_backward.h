#pragma once

#include "conv_forward.h"
#include "conv_input.h"
#include "conv_shapes.h"
#include "conv_weight_gradient.h"
#include "tiles.h"

#include <torch/types.h>

// The backward pass of the fused convolution (conv_forward.h), image by image: h and the derivative
// of SiLU are computed again from the input and the norm's statistics. With dy and ds the gradients
// of y and of the shortcut,
//   d_input = GroupNorm'(SiLU' . conv3x3^T(dy)) + conv1x1^T(ds),
// where conv^T is the convolution with transposed weights (pack_weights). conv_weight_gradient.h
// computes the gradients of the weights.

namespace ddpm::kernels::amx {

struct ConvBackwardInputs {
  const ConvLoops& loops;
  const ConvShape& shape;
  const ConvInput& input;
  const InputNorm& norm;
  torch::Tensor weight;           ///< [O,C,3,3]
  torch::Tensor shortcut_weight;  ///< [O,C,1,1], or undefined
  ConvOutputs gradients;          ///< of the outputs; the shortcut's only if there is one
};

struct ConvGradients {
  WeightGradients conv, shortcut;
};

/// Returns the gradients of the weights; sets the norm's in its buffers and the inputs' in `to`, if
/// to.x is defined. Without a norm or a skip connection to.x may be undefined.
ConvGradients conv_backward(const ConvBackwardInputs& inputs, const InputGradients& to);

}  // namespace ddpm::kernels::amx
