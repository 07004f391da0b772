#pragma once

#include "ddpm/nn/attention_block.h"
#include "ddpm/nn/recompute.h"
#include "ddpm/nn/resample.h"
#include "ddpm/nn/resnet_block.h"

#include <vector>

// The U-Net's stages, one per resolution: down, middle and up.

namespace ddpm::nn {

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
