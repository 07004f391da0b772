#include "ddpm/kernels/attention.h"
#include "ddpm/nn/blocks.h"
#include "fused.h"

#include <torch/types.h>

namespace ddpm::nn {
namespace {

torch::nn::Conv2d conv3x3(int64_t in, int64_t out) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 3).padding(1));
}

torch::Tensor resampled(const torch::Tensor& x, Resample resample) {
  if (resample == Resample::kDown) return torch::avg_pool2d(x, 2);
  return torch::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)});
}

}  // namespace

ResnetBlockImpl::ResnetBlockImpl(const ResnetBlockConfig& config)
    : dropout_(config.dropout),
      time_scale_shift_(config.time_scale_shift),
      resample_(config.resample),
      norm1_(
          register_module("norm1", GroupNorm(config.groups, config.in_channels, config.norm_eps))),
      conv1_(register_module("conv1", conv3x3(config.in_channels, config.out_channels))),
      time_emb_proj_(register_module(
          "time_emb_proj", torch::nn::Linear(config.time_channels,
                                             (time_scale_shift_ ? 2 : 1) * config.out_channels))),
      norm2_(
          register_module("norm2", GroupNorm(config.groups, config.out_channels, config.norm_eps))),
      conv2_(register_module("conv2", conv3x3(config.out_channels, config.out_channels))) {
  if (config.in_channels == config.out_channels) return;
  conv_shortcut_ = register_module(
      "conv_shortcut",
      torch::nn::Conv2d(torch::nn::Conv2dOptions(config.in_channels, config.out_channels, 1)));
}

torch::Tensor ResnetBlockImpl::forward(const torch::Tensor& x, const torch::Tensor& temb) {
  return forward_around(x, x, temb);
}

torch::Tensor ResnetBlockImpl::forward_around(const torch::Tensor& x, const torch::Tensor& around,
                                              const torch::Tensor& temb) {
  if (resample_ == Resample::kNone) return kernels::residual_block(as_block(temb), x, around);
  const torch::Tensor h = convolve(conv1_, resampled(norm_silu(norm1_, x), resample_));
  const torch::Tensor same = resampled(around, resample_);
  return second_half(h, conv_shortcut_ ? conv_shortcut_(same) : same, temb);
}

torch::Tensor ResnetBlockImpl::forward_joined(const torch::Tensor& x, const torch::Tensor& skip,
                                              const torch::Tensor& temb) {
  if (resample_ == Resample::kNone) return kernels::residual_block(as_block(temb), x, x, skip);
  return forward(torch::cat({x, skip}, 1), temb);
}

kernels::Modulation ResnetBlockImpl::modulation(const torch::Tensor& temb) {
  const torch::Tensor projected =
      kernels::linear(temb, used(time_emb_proj_->weight), time_emb_proj_->bias);
  if (!time_scale_shift_) return {projected};
  const std::vector<torch::Tensor> parts = projected.chunk(2, 1);
  return {.add = {}, .scale = parts[0], .shift = parts[1]};
}

kernels::ResidualBlock ResnetBlockImpl::as_block(const torch::Tensor& temb) {
  kernels::ResidualBlock block;
  block.norm1 = parameters_of(norm1_);
  block.conv1 = {used(conv1_->weight), conv1_->bias};
  block.norm2 = parameters_of(norm2_, modulation(temb));
  block.dropout = is_training() ? dropout_ : 0.0;
  block.conv2 = {used(conv2_->weight), conv2_->bias};
  if (conv_shortcut_) block.shortcut = {used(conv_shortcut_->weight), conv_shortcut_->bias};
  return block;
}

torch::Tensor ResnetBlockImpl::second_half(const torch::Tensor& h, const torch::Tensor& shortcut,
                                           const torch::Tensor& temb) {
  const kernels::Modulation modulated = modulation(temb);
  if (dropout_ > 0.0 && is_training()) {
    const torch::Tensor kept = torch::dropout(norm_silu(norm2_, h, modulated), dropout_, true);
    return convolve(conv2_, kept) + shortcut;
  }
  return norm_silu_convolve(norm2_, modulated, conv2_, h, shortcut);
}

}  // namespace ddpm::nn
