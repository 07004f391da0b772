#pragma once

#include "ddpm/nn/attention_block.h"
#include "ddpm/nn/resample.h"
#include "ddpm/nn/resnet_block.h"

#include <vector>

// The U-Net's stages: what happens at one resolution on the way down, at the bottom, and on the way
// up.

namespace ddpm::nn {

struct StageConfig {
  std::vector<int64_t> in_channels;  ///< of each residual block
  int64_t out_channels = 0;          ///< of every residual block
  bool attention = false;            ///< after each residual block (mid stage: after the first)
  bool resample = false;             ///< down- or upsample at the end
  bool same_padding = true;          ///< of the downsampling convolution
  ResnetBlockConfig block;           ///< all but the channel counts
  int64_t head_channels = 0;         ///< 0: one head
};

/// Residual blocks with attention, and one list entry a module under diffusers' names.
class StageImpl : public torch::nn::Module {
 protected:
  explicit StageImpl(const StageConfig& config, size_t attention_count);
  std::vector<ResnetBlock> resnets_;
  std::vector<AttentionBlock> attentions_;
};

/// Every intermediate result is kept for the way up.
class DownStageImpl : public StageImpl {
 public:
  explicit DownStageImpl(const StageConfig& config);
  /// h: [B, in, H, W] -> [B, out, H, W] or [B, out, H/2, W/2]. Appends each block's output to
  /// `skips`.
  torch::Tensor forward(torch::Tensor h, const torch::Tensor& temb,
                        std::vector<torch::Tensor>& skips);

 private:
  Downsample downsample_{nullptr};
};
TORCH_MODULE(DownStage);

/// The bottom: block, attention, block.
class MidStageImpl : public StageImpl {
 public:
  explicit MidStageImpl(const StageConfig& config);
  torch::Tensor forward(torch::Tensor h, const torch::Tensor& temb);
};
TORCH_MODULE(MidStage);

/// Each block takes the last skip beside its input.
class UpStageImpl : public StageImpl {
 public:
  explicit UpStageImpl(const StageConfig& config);
  /// h: [B, in, H, W] -> [B, out, H, W] or [B, out, 2H, 2W]. Takes one entry off `skips` a block.
  torch::Tensor forward(torch::Tensor h, const torch::Tensor& temb,
                        std::vector<torch::Tensor>& skips);

 private:
  Upsample upsample_{nullptr};
};
TORCH_MODULE(UpStage);

}  // namespace ddpm::nn
