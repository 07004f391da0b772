#include "ddpm/kernels/attention.h"
#include "ddpm/nn/blocks.h"
#include "fused.h"

#include <torch/types.h>

namespace ddpm::nn {

// Axes: B batch, N pixels (H*W), C channels.

AttentionBlockImpl::AttentionBlockImpl(const AttentionBlockConfig& config)
    : heads_(config.heads),
      group_norm_(register_module("group_norm",
                                  GroupNorm(config.groups, config.channels, config.norm_eps))),
      to_q_(register_module("to_q", torch::nn::Linear(config.channels, config.channels))),
      to_k_(register_module("to_k", torch::nn::Linear(config.channels, config.channels))),
      to_v_(register_module("to_v", torch::nn::Linear(config.channels, config.channels))),
      to_out_(register_module(
          "to_out", torch::nn::ModuleList(torch::nn::Linear(config.channels, config.channels)))) {}

torch::Tensor AttentionBlockImpl::forward(const torch::Tensor& x) {
  const int64_t batch = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3);
  // A channels_last image is already [B, N, C] in memory: no copy.
  const torch::Tensor h_BNC =
      norm_alone(group_norm_, x).permute({0, 2, 3, 1}).reshape({batch, height * width, channels});
  // One product for all three: the weights are small, h is not.
  const torch::Tensor weight =
      torch::cat({used(to_q_->weight), used(to_k_->weight), used(to_v_->weight)});
  const torch::Tensor bias = torch::cat({to_q_->bias, to_k_->bias, to_v_->bias});
  const torch::Tensor out_BNC = kernels::attention(kernels::linear(h_BNC, weight, bias), heads_);
  const auto* out = to_out_[0]->as<torch::nn::Linear>();
  const torch::Tensor x_BNC = x.permute({0, 2, 3, 1}).reshape(h_BNC.sizes());
  const torch::Tensor y_BNC = kernels::linear(out_BNC, used(out->weight), out->bias, x_BNC);
  return y_BNC.view({batch, height, width, channels}).permute({0, 3, 1, 2});
}

}  // namespace ddpm::nn
