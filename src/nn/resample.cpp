#include "ddpm/kernels/convolution.h"
#include "ddpm/nn/blocks.h"
#include "fused.h"

#include <torch/types.h>

namespace ddpm::nn {

DownsampleImpl::DownsampleImpl(int64_t channels, bool same_padding)
    : same_padding_(same_padding),
      conv_(
          register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(channels, channels, 3)
                                                        .stride(2)
                                                        .padding(same_padding ? 0 : 1)))) {}

torch::Tensor DownsampleImpl::forward(const torch::Tensor& x) {
  const torch::Tensor padded = same_padding_ ? torch::constant_pad_nd(x, {0, 1, 0, 1}) : x;
  return kernels::convolution(padded, used(conv_->weight), conv_->bias, 2, same_padding_ ? 0 : 1);
}

UpsampleImpl::UpsampleImpl(int64_t channels)
    : conv_(register_module(
          "conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(channels, channels, 3).padding(1)))) {}

torch::Tensor UpsampleImpl::forward(const torch::Tensor& x) {
  return convolve(conv_, kernels::upsample_nearest(x));
}

}  // namespace ddpm::nn
