#include "ddpm/nn/resnet_block.h"

#include "fused.h"

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

torch::Tensor resampled(const torch::Tensor& x, Resample resample) {
  if (resample == Resample::kDown) return torch::avg_pool2d(x, 2);
  return torch::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)});
}

}  // namespace

ResnetBlockImpl::ResnetBlockImpl(const ResnetBlockConfig& config)
    : dropout_(config.dropout),
      time_scale_shift_(config.time_scale_shift),
      resample_(config.resample),
      norm1_(register_module("norm1", group_norm(config, config.in_channels))),
      conv1_(register_module("conv1", conv3x3(config.in_channels, config.out_channels))),
      time_emb_proj_(register_module(
          "time_emb_proj", torch::nn::Linear(config.time_channels,
                                             (time_scale_shift_ ? 2 : 1) * config.out_channels))),
      norm2_(register_module("norm2", group_norm(config, config.out_channels))),
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
  if (first_half_is_one(x)) return halves(x, /*skip=*/{}, temb);
  const bool resample = resample_ != Resample::kNone;
  const torch::Tensor h = resample ? convolve(conv1_, resampled(norm_silu(norm1_, x), resample_))
                                   : norm_silu_convolve(norm1_, {}, conv1_, x);
  const torch::Tensor same = resample ? resampled(around, resample_) : around;
  return second_half(h, conv_shortcut_ ? conv_shortcut_(same) : same, temb);
}

torch::Tensor ResnetBlockImpl::forward_joined(const torch::Tensor& x, const torch::Tensor& skip,
                                              const torch::Tensor& temb) {
  if (first_half_is_one(x)) return halves(x, skip, temb);
  return forward(torch::cat({x, skip}, 1), temb);
}

bool ResnetBlockImpl::first_half_is_one(const torch::Tensor& x) const {
  return resample_ == Resample::kNone && conv_shortcut_ &&
         kernels::is_fused(x, conv1_->weight, conv1_->bias);
}

torch::Tensor ResnetBlockImpl::halves(const torch::Tensor& x, const torch::Tensor& skip,
                                      const torch::Tensor& temb) {
  const kernels::FirstHalf first = kernels::norm_silu_conv3x3_and_shortcut(
      x, skip, parameters_of(norm1_), conv1_->weight, conv1_->bias, conv_shortcut_->weight,
      conv_shortcut_->bias);
  return second_half(first.y, first.shortcut, temb);
}

torch::Tensor ResnetBlockImpl::second_half(const torch::Tensor& h, const torch::Tensor& shortcut,
                                           const torch::Tensor& temb) {
  kernels::Modulation modulation{time_emb_proj_(temb)};
  if (time_scale_shift_) {
    const std::vector<torch::Tensor> parts = modulation.add.chunk(2, 1);
    modulation = {.scale = parts[0], .shift = parts[1]};
  }
  if (dropout_ > 0.0 && is_training()) {
    const torch::Tensor kept = torch::dropout(norm_silu(norm2_, h, modulation), dropout_, true);
    return convolve(conv2_, kept) + shortcut;
  }
  return norm_silu_convolve(norm2_, modulation, conv2_, h, shortcut);
}

}  // namespace ddpm::nn
