#include "ddpm/nn/stage.h"

#include <torch/types.h>

namespace ddpm::nn {

StageImpl::StageImpl(const StageConfig& config, size_t attention_count) {
  auto resnets = register_module("resnets", torch::nn::ModuleList());
  for (const int64_t in : config.in_channels) {
    ResnetBlockConfig block = config.block;
    block.in_channels = in;
    block.out_channels = config.out_channels;
    resnets_.emplace_back(block);
    resnets->push_back(resnets_.back());
  }
  auto attentions = register_module("attentions", torch::nn::ModuleList());
  for (size_t i = 0; i < attention_count; ++i) {
    const int64_t heads = config.head_channels > 0 ? config.out_channels / config.head_channels : 1;
    attentions_.emplace_back(AttentionBlockConfig{config.out_channels, heads, config.block.groups,
                                                  config.block.norm_eps});
    attentions->push_back(attentions_.back());
  }
}

DownStageImpl::DownStageImpl(const StageConfig& config)
    : StageImpl(config, config.attention ? config.in_channels.size() : 0) {
  if (!config.resample) return;
  downsample_ = Downsample(config.out_channels, config.same_padding);
  register_module("downsamplers", torch::nn::ModuleList(downsample_));
}

torch::Tensor DownStageImpl::forward(torch::Tensor h, const torch::Tensor& temb,
                                     std::vector<torch::Tensor>& skips) {
  for (size_t i = 0; i < resnets_.size(); ++i) {
    h = resnets_[i](h, temb);
    if (!attentions_.empty()) h = attentions_[i](h);
    skips.push_back(h);
  }
  if (downsample_) {
    h = downsample_(h);
    skips.push_back(h);
  }
  return h;
}

MidStageImpl::MidStageImpl(const StageConfig& config)
    : StageImpl(config, config.attention ? 1 : 0) {}

torch::Tensor MidStageImpl::forward(torch::Tensor h, const torch::Tensor& temb) {
  h = resnets_[0](h, temb);
  if (!attentions_.empty()) h = attentions_[0](h);
  return resnets_[1](h, temb);
}

UpStageImpl::UpStageImpl(const StageConfig& config)
    : StageImpl(config, config.attention ? config.in_channels.size() : 0) {
  if (!config.resample) return;
  upsample_ = Upsample(config.out_channels);
  register_module("upsamplers", torch::nn::ModuleList(upsample_));
}

torch::Tensor UpStageImpl::forward(torch::Tensor h, const torch::Tensor& temb,
                                   std::vector<torch::Tensor>& skips) {
  for (size_t i = 0; i < resnets_.size(); ++i) {
    h = resnets_[i](torch::cat({h, skips.back()}, 1), temb);
    skips.pop_back();
    if (!attentions_.empty()) h = attentions_[i](h);
  }
  return upsample_ ? upsample_(h) : h;
}

}  // namespace ddpm::nn
