#pragma once

#include "ddpm/kernels/residual_block.h"
#include "ddpm/nn/recompute.h"

#include <cstdint>
#include <vector>

#include <torch/nn/module.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

namespace ddpm::nn {

/// Group normalization (Wu and He 2018) with a weight and a bias per channel: the parameters of
/// torch::nn::GroupNorm for the kernels of kernels/residual_block.h. Torch's header of
/// it brings autograd's function templates: three seconds in every file that knows a network.
class GroupNormImpl : public torch::nn::Module {
 public:
  /// weight 1, bias 0; `groups` divides `channels`.
  GroupNormImpl(int64_t groups, int64_t channels, double eps);
  int64_t groups() const { return groups_; }
  double eps() const { return eps_; }

  torch::Tensor weight, bias;  ///< [C]

 private:
  int64_t groups_;
  double eps_;
};
TORCH_MODULE(GroupNorm);

/// How a time step becomes sines and cosines.
struct SinusoidConfig {
  bool cosine_first = false;  ///< [cos, sin] instead of Ho's [sin, cos]
  double freq_shift =
      1.0;  ///< frequencies 10000^(-k / (dim/2 - freq_shift)); Ho 1, diffusers' default 0
  double scale = 1.0;  ///< of t: IDDPM feeds t 1000 / T where its timesteps are rescaled

  bool operator==(const SinusoidConfig&) const = default;
};

/// The sinusoidal embedding of a time index (Vaswani 2017, Sec. 3.5; Ho 2020, App. B), in float32.
/// t: [B] of any type, 0..T-1 in Ho's network. Returns [B, dim]; an odd dim ends in a zero column.
torch::Tensor sinusoidal_embedding(const torch::Tensor& t, int64_t dim,
                                   const SinusoidConfig& config);

/// The embedding and its two-layer network, shared by all residual blocks: Linear, SiLU, Linear.
class TimeEmbeddingImpl : public torch::nn::Module {
 public:
  TimeEmbeddingImpl(int64_t channels, int64_t time_channels, const SinusoidConfig& sinusoid);
  /// t: [B] of any type, as sinusoidal_embedding. `added`: [B, channels], joins the sinusoids if
  /// defined. Returns [B, time_channels] in the parameters' type.
  torch::Tensor forward(const torch::Tensor& t, const torch::Tensor& added = {});

 private:
  int64_t channels_;
  SinusoidConfig sinusoid_;
  torch::nn::Linear linear_1_, linear_2_;
};
TORCH_MODULE(TimeEmbedding);

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

struct AttentionBlockConfig {
  int64_t channels = 0;
  int64_t heads = 1;  ///< divides channels
  int64_t groups = 32;
  double norm_eps = 1e-6;
};

/// Self-attention over all pixels with a residual around (Ho 2020, App. B; Vaswani 2017, Eq. 1).
class AttentionBlockImpl : public torch::nn::Module {
 public:
  explicit AttentionBlockImpl(const AttentionBlockConfig& config);
  /// [B, C, H, W] -> [B, C, H, W].
  torch::Tensor forward(const torch::Tensor& x);

 private:
  int64_t heads_;
  GroupNorm group_norm_;
  torch::nn::Linear to_q_, to_k_, to_v_;
  torch::nn::ModuleList to_out_;  // one Linear, named to_out.0 as in diffusers
};
TORCH_MODULE(AttentionBlock);

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

// The U-Net's stages, one per resolution: down, middle and up.

struct StageConfig {
  std::vector<int64_t> in_channels;  ///< of each residual block
  int64_t out_channels = 0;          ///< of every residual block
  bool attention = false;            ///< after each residual block (mid stage: after the first)
  bool resample = false;             ///< down- or upsample at the end
  bool residual_resample = false;    ///< ... by a residual block instead of a convolution
  bool same_padding = true;          ///< of the downsampling convolution
  ResnetBlockConfig block;           ///< all but the channel counts
  int64_t head_channels = 0;         ///< 0: `heads`
  int64_t heads = 1;
};

/// Residual blocks with attention. Modules are registered under diffusers' names.
class StageImpl : public torch::nn::Module {
 public:
  /// Gradient checkpointing: the backward pass computes each block again instead of keeping its
  /// intermediate results.
  void set_recompute_(bool recompute) { recompute_ = recompute; }

 protected:
  explicit StageImpl(const StageConfig& config, size_t attention_count);
  /// Block i and its attention, if any, of h, or of h and a skip connection.
  torch::Tensor block(size_t i, const torch::Tensor& h, const torch::Tensor& temb);
  torch::Tensor block(size_t i, const torch::Tensor& h, const torch::Tensor& skip,
                      const torch::Tensor& temb);
  /// A block that changes the resolution.
  torch::Tensor resample(ResnetBlock block, const torch::Tensor& h, const torch::Tensor& temb);
  /// part(inputs), which uses the parameters of `modules`.
  torch::Tensor run(const Part& part, const std::vector<torch::Tensor>& inputs,
                    const std::vector<const torch::nn::Module*>& modules);

  std::vector<ResnetBlock> resnets_;
  std::vector<AttentionBlock> attentions_;

 private:
  torch::Tensor attended(size_t i, const torch::Tensor& h);
  std::vector<const torch::nn::Module*> modules_of(size_t i) const;

  bool dropout_;
  bool recompute_ = false;
};

/// Passes each block's output to the up stages, as a skip connection.
class DownStageImpl : public StageImpl {
 public:
  explicit DownStageImpl(const StageConfig& config);
  /// h: [B, in, H, W] -> [B, out, H, W] or [B, out, H/2, W/2]. Appends each block's output to
  /// `skips`.
  torch::Tensor forward(torch::Tensor h, const torch::Tensor& temb,
                        std::vector<torch::Tensor>& skips);

 private:
  Downsample downsample_{nullptr};  // one of the two, or neither
  ResnetBlock downsample_block_{nullptr};
};
TORCH_MODULE(DownStage);

/// The bottom: block, attention, block.
class MidStageImpl : public StageImpl {
 public:
  explicit MidStageImpl(const StageConfig& config);
  torch::Tensor forward(torch::Tensor h, const torch::Tensor& temb);
};
TORCH_MODULE(MidStage);

/// Each block also takes the last skip connection.
class UpStageImpl : public StageImpl {
 public:
  explicit UpStageImpl(const StageConfig& config);
  /// h: [B, in, H, W] -> [B, out, H, W] or [B, out, 2H, 2W]. Each block removes one entry of `skips`.
  torch::Tensor forward(torch::Tensor h, const torch::Tensor& temb,
                        std::vector<torch::Tensor>& skips);

 private:
  Upsample upsample_{nullptr};  // one of the two, or neither
  ResnetBlock upsample_block_{nullptr};
};
TORCH_MODULE(UpStage);

}  // namespace ddpm::nn
