#pragma once

#include "ddpm/kernels/residual_block.h"
#include "ddpm/nn/group_norm.h"

#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

namespace ddpm::nn {

/// How a residual block changes the resolution: between its first activation and convolution, and in
/// its shortcut (ADM's up- and downsampling blocks).
enum class Resample {
  kNone,
  kDown,  ///< halves: the mean of 2x2 pixels
  kUp,    ///< doubles: nearest neighbour
};

struct ResnetBlockConfig {
  int64_t in_channels = 0;
  int64_t out_channels = 0;
  int64_t time_channels = 0;  ///< width of the time embedding
  int64_t groups = 32;        ///< of both GroupNorms; divides both channel counts
  double norm_eps = 1e-6;
  double dropout = 0.0;  ///< before the second convolution; 0 <= p < 1
  /// If true, the time embedding scales and shifts the second GroupNorm's output, h (1 + scale) +
  /// shift (Nichol 2021). Otherwise it is added before that norm.
  bool time_scale_shift = false;
  Resample resample = Resample::kNone;
};

/// GroupNorm-SiLU-Conv twice, the time embedding added in between, and a shortcut (Ho 2020, App. B).
class ResnetBlockImpl : public torch::nn::Module {
 public:
  explicit ResnetBlockImpl(const ResnetBlockConfig& config);
  /// x: [B, in, H, W], temb: SiLU of the time embedding, [B, time]. Returns [B, out, H, W], or
  /// resampled.
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& temb);
  /// The same; `around` is x again, for the shortcut.
  torch::Tensor forward_around(const torch::Tensor& x, const torch::Tensor& around,
                               const torch::Tensor& temb);
  /// The same of x and a skip connection joined along the channels.
  torch::Tensor forward_joined(const torch::Tensor& x, const torch::Tensor& skip,
                               const torch::Tensor& temb);

 private:
  // The effect of the time embedding on the second norm.
  kernels::Modulation modulation(const torch::Tensor& temb);
  kernels::ResidualBlock as_block(const torch::Tensor& temb);
  // h: conv1's result.
  torch::Tensor second_half(const torch::Tensor& h, const torch::Tensor& shortcut,
                            const torch::Tensor& temb);

  double dropout_;
  bool time_scale_shift_;
  Resample resample_;
  GroupNorm norm1_;
  torch::nn::Conv2d conv1_;
  torch::nn::Linear time_emb_proj_;
  GroupNorm norm2_;
  torch::nn::Conv2d conv2_;
  torch::nn::Conv2d conv_shortcut_{nullptr};  // 1x1, only where in != out
};
TORCH_MODULE(ResnetBlock);

}  // namespace ddpm::nn
