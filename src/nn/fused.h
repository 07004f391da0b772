#pragma once

#include "ddpm/kernels/convolution.h"
#include "ddpm/kernels/residual_block.h"
#include "ddpm/nn/blocks.h"
#include "ddpm/nn/weight_copies.h"

#include <torch/nn/modules/conv.h>

// Calls the project's kernels with the parameters of modules.

namespace ddpm::nn {

inline torch::Tensor norm_silu(const GroupNorm& norm, const torch::Tensor& x,
                               const kernels::Modulation& modulation = {}) {
  return kernels::group_norm_silu(x, norm->weight, norm->bias, norm->groups(), norm->eps(),
                                  modulation);
}

inline torch::Tensor norm_alone(const GroupNorm& norm, const torch::Tensor& x) {
  return kernels::group_norm(x, norm->weight, norm->bias, norm->groups(), norm->eps());
}

/// A 3x3 convolution of stride 1 with a border of one zero.
inline torch::Tensor convolve(const torch::nn::Conv2d& conv, const torch::Tensor& x) {
  return kernels::conv3x3(x, used(conv->weight), conv->bias);
}

inline kernels::Norm parameters_of(const GroupNorm& norm,
                                   const kernels::Modulation& modulation = {}) {
  return {norm->weight, norm->bias, norm->groups(), norm->eps(), modulation};
}

/// convolve(conv, norm_silu(norm, x, modulation)) + residual.
inline torch::Tensor norm_silu_convolve(const GroupNorm& norm,
                                        const kernels::Modulation& modulation,
                                        const torch::nn::Conv2d& conv, const torch::Tensor& x,
                                        const torch::Tensor& residual = {}) {
  return kernels::norm_silu_conv3x3(x, parameters_of(norm, modulation), used(conv->weight),
                                    conv->bias, residual);
}

}  // namespace ddpm::nn
