#pragma once

#include "ddpm/nn/group_norm.h"

#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/linear.h>

namespace ddpm::nn {

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

}  // namespace ddpm::nn
