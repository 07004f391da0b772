#include "ddpm/nn/attention_block.h"

#include "fused.h"

#include <torch/types.h>

namespace ddpm::nn {

// Axes: B batch, N pixels (H*W), C channels, M heads, D channels a head.

AttentionBlockImpl::AttentionBlockImpl(const AttentionBlockConfig& config)
    : heads_(config.heads),
      group_norm_(register_module(
          "group_norm",
          torch::nn::GroupNorm(
              torch::nn::GroupNormOptions(config.groups, config.channels).eps(config.norm_eps)))),
      to_q_(register_module("to_q", torch::nn::Linear(config.channels, config.channels))),
      to_k_(register_module("to_k", torch::nn::Linear(config.channels, config.channels))),
      to_v_(register_module("to_v", torch::nn::Linear(config.channels, config.channels))),
      to_out_(register_module(
          "to_out", torch::nn::ModuleList(torch::nn::Linear(config.channels, config.channels)))) {}

torch::Tensor AttentionBlockImpl::forward(const torch::Tensor& x) {
  const int64_t batch = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3);
  const auto split_heads = [&](const torch::Tensor& y_BNC) {
    return y_BNC.view({batch, height * width, heads_, channels / heads_}).transpose(1, 2);
  };
  // A channels_last image is already [B, N, C] in memory: no copy.
  const torch::Tensor h_BNC =
      norm_alone(group_norm_, x).permute({0, 2, 3, 1}).reshape({batch, height * width, channels});
  const torch::Tensor q_BMND = split_heads(to_q_(h_BNC));
  const torch::Tensor k_BMND = split_heads(to_k_(h_BNC));
  const torch::Tensor v_BMND = split_heads(to_v_(h_BNC));
  const torch::Tensor out_BMND = at::scaled_dot_product_attention(q_BMND, k_BMND, v_BMND);
  const torch::Tensor out_BNC = out_BMND.transpose(1, 2).reshape({batch, height * width, channels});
  const torch::Tensor projected_BNC = to_out_[0]->as<torch::nn::Linear>()->forward(out_BNC);
  return x + projected_BNC.view({batch, height, width, channels}).permute({0, 3, 1, 2});
}

}  // namespace ddpm::nn
