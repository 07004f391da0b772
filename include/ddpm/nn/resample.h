#pragma once

#include <torch/nn/modules/conv.h>

namespace ddpm::nn {

/// Halves height and width by a 3x3 convolution of stride 2.
class DownsampleImpl : public torch::nn::Module {
 public:
  /// same_padding: pad one row below and one column right, TensorFlow's SAME, as Ho; else one on
  /// every side.
  DownsampleImpl(int64_t channels, bool same_padding);
  /// [B, C, H, W] -> [B, C, H/2, W/2].
  torch::Tensor forward(const torch::Tensor& x);

 private:
  bool same_padding_;
  torch::nn::Conv2d conv_;
};
TORCH_MODULE(Downsample);

/// Doubles height and width: nearest neighbour, then a 3x3 convolution.
class UpsampleImpl : public torch::nn::Module {
 public:
  explicit UpsampleImpl(int64_t channels);
  /// [B, C, H, W] -> [B, C, 2H, 2W].
  torch::Tensor forward(const torch::Tensor& x);

 private:
  torch::nn::Conv2d conv_;
};
TORCH_MODULE(Upsample);

}  // namespace ddpm::nn
