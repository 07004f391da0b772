#pragma once

#include "ddpm/kernels/convolution.h"
#include "ddpm/kernels/group_norm.h"
#include "ddpm/kernels/norm_convolution.h"

#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/normalization.h>

// Modules' parameters in kernels of ours, which do more, or the same faster, than ATen's.

namespace ddpm::nn {

inline torch::Tensor norm_silu(const torch::nn::GroupNorm& norm, const torch::Tensor& x,
                               const kernels::Modulation& modulation = {}) {
  return kernels::group_norm_silu(x, norm->weight, norm->bias, norm->options.num_groups(),
                                  norm->options.eps(), modulation);
}

inline torch::Tensor norm_alone(const torch::nn::GroupNorm& norm, const torch::Tensor& x) {
  return kernels::group_norm(x, norm->weight, norm->bias, norm->options.num_groups(),
                             norm->options.eps());
}

/// A 3x3 convolution of stride 1 with a border of one zero.
inline torch::Tensor convolve(const torch::nn::Conv2d& conv, const torch::Tensor& x) {
  return kernels::conv3x3(x, conv->weight, conv->bias);
}

/// convolve(conv, norm_silu(norm, x, modulation)) + residual, with `beside` joined to x.
inline torch::Tensor norm_silu_convolve(const torch::nn::GroupNorm& norm,
                                        const kernels::Modulation& modulation,
                                        const torch::nn::Conv2d& conv, const torch::Tensor& x,
                                        const torch::Tensor& residual = {},
                                        const torch::Tensor& beside = {}) {
  const kernels::Norm before{norm->weight, norm->bias, norm->options.num_groups(),
                             norm->options.eps(), modulation};
  return kernels::norm_silu_conv3x3(x, before, conv->weight, conv->bias, residual, beside);
}

/// A 1x1 convolution of x and `beside` joined, without joining them.
inline torch::Tensor convolve_apart(const torch::nn::Conv2d& conv, const torch::Tensor& x,
                                    const torch::Tensor& beside) {
  const int64_t channels = x.size(1);
  const torch::Tensor own = conv->weight.narrow(1, 0, channels);
  const torch::Tensor others = conv->weight.narrow(1, channels, beside.size(1));
  return at::conv2d(x, own, conv->bias) + at::conv2d(beside, others);
}

}  // namespace ddpm::nn
