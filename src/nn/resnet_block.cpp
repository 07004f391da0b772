#include "ddpm/nn/resnet_block.h"

#include <torch/types.h>

namespace ddpm::nn {
namespace {

torch::nn::GroupNorm group_norm(const ResnetBlockConfig& config, int64_t channels) {
  return torch::nn::GroupNorm(
      torch::nn::GroupNormOptions(config.groups, channels).eps(config.norm_eps));
}

torch::nn::Conv2d conv3x3(int64_t in, int64_t out) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 3).padding(1));
}

}  // namespace

ResnetBlockImpl::ResnetBlockImpl(const ResnetBlockConfig& config)
    : dropout_(config.dropout),
      norm1_(register_module("norm1", group_norm(config, config.in_channels))),
      conv1_(register_module("conv1", conv3x3(config.in_channels, config.out_channels))),
      time_emb_proj_(register_module("time_emb_proj",
                                     torch::nn::Linear(config.time_channels, config.out_channels))),
      norm2_(register_module("norm2", group_norm(config, config.out_channels))),
      conv2_(register_module("conv2", conv3x3(config.out_channels, config.out_channels))) {
  if (config.in_channels == config.out_channels) return;
  conv_shortcut_ = register_module(
      "conv_shortcut",
      torch::nn::Conv2d(torch::nn::Conv2dOptions(config.in_channels, config.out_channels, 1)));
}

torch::Tensor ResnetBlockImpl::forward(const torch::Tensor& x, const torch::Tensor& temb) {
  torch::Tensor h = conv1_(torch::silu(norm1_(x)));
  h = h + time_emb_proj_(temb).unsqueeze(-1).unsqueeze(-1);
  h = torch::silu(norm2_(h));
  if (dropout_ > 0.0) h = torch::dropout(h, dropout_, is_training());
  h = conv2_(h);
  return h + (conv_shortcut_ ? conv_shortcut_(x) : x);
}

}  // namespace ddpm::nn
