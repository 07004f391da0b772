#pragma once

#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

namespace ddpm::nn {

struct ResnetBlockConfig {
  int64_t in_channels = 0;
  int64_t out_channels = 0;
  int64_t time_channels = 0;  ///< width of the time embedding
  int64_t groups = 32;        ///< of both GroupNorms; divides both channel counts
  double norm_eps = 1e-6;
  double dropout = 0.0;  ///< before the second convolution; 0 <= p < 1
};

/// GroupNorm-SiLU-Conv twice, the time embedding added between, a residual around (Ho 2020, App.
/// B).
class ResnetBlockImpl : public torch::nn::Module {
 public:
  explicit ResnetBlockImpl(const ResnetBlockConfig& config);
  /// x: [B, in, H, W], temb: SiLU of the time embedding, [B, time]. Returns [B, out, H, W].
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& temb);

 private:
  double dropout_;
  torch::nn::GroupNorm norm1_;
  torch::nn::Conv2d conv1_;
  torch::nn::Linear time_emb_proj_;
  torch::nn::GroupNorm norm2_;
  torch::nn::Conv2d conv2_;
  torch::nn::Conv2d conv_shortcut_{nullptr};  // 1x1, only where in != out
};
TORCH_MODULE(ResnetBlock);

}  // namespace ddpm::nn
