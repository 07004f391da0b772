#include "ddpm/nn/blocks.h"

#include <torch/types.h>

namespace ddpm::nn {
namespace {

ResnetBlock resample_block(const StageConfig& config, Resample resample) {
  ResnetBlockConfig block = config.block;
  block.in_channels = block.out_channels = config.out_channels;
  block.resample = resample;
  return ResnetBlock(block);
}

}  // namespace

StageImpl::StageImpl(const StageConfig& config, size_t attention_count)
    : dropout_(config.block.dropout > 0.0) {
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
    const int64_t heads =
        config.head_channels > 0 ? config.out_channels / config.head_channels : config.heads;
    attentions_.emplace_back(AttentionBlockConfig{config.out_channels, heads, config.block.groups,
                                                  config.block.norm_eps});
    attentions->push_back(attentions_.back());
  }
}

torch::Tensor StageImpl::run(const Part& part, const std::vector<torch::Tensor>& inputs,
                             const std::vector<const torch::nn::Module*>& modules) {
  if (!recompute_) return part(inputs);
  std::vector<torch::Tensor> parameters;
  for (const torch::nn::Module* module : modules) {
    for (const torch::Tensor& p : module->parameters()) parameters.push_back(p);
  }
  return recompute(part, inputs, parameters, dropout_ && is_training());
}

// A block gets its input twice, first for the shortcut. Then the gradients of shortcut and
// convolutions are added to the skip's in the same order as without recomputation: the same bits.
torch::Tensor StageImpl::block(size_t i, const torch::Tensor& h, const torch::Tensor& temb) {
  const auto part = [this, i](const std::vector<torch::Tensor>& in) {
    return attended(i, resnets_[i]->forward_around(in[1], in[0], in[2]));
  };
  return run(part, {h, h, temb}, modules_of(i));
}

torch::Tensor StageImpl::block(size_t i, const torch::Tensor& h, const torch::Tensor& skip,
                               const torch::Tensor& temb) {
  const auto part = [this, i](const std::vector<torch::Tensor>& in) {
    return attended(i, resnets_[i]->forward_joined(in[0], in[1], in[2]));
  };
  return run(part, {h, skip, temb}, modules_of(i));
}

torch::Tensor StageImpl::resample(ResnetBlock block, const torch::Tensor& h,
                                  const torch::Tensor& temb) {
  const Part part = [block](const std::vector<torch::Tensor>& in) mutable {
    return block->forward_around(in[1], in[0], in[2]);
  };
  return run(part, {h, h, temb}, {block.get()});
}

torch::Tensor StageImpl::attended(size_t i, const torch::Tensor& h) {
  return i < attentions_.size() ? attentions_[i](h) : h;
}

std::vector<const torch::nn::Module*> StageImpl::modules_of(size_t i) const {
  std::vector<const torch::nn::Module*> modules{resnets_[i].get()};
  if (i < attentions_.size()) modules.push_back(attentions_[i].get());
  return modules;
}

DownStageImpl::DownStageImpl(const StageConfig& config)
    : StageImpl(config, config.attention ? config.in_channels.size() : 0) {
  if (!config.resample) return;
  if (config.residual_resample) {
    downsample_block_ = resample_block(config, Resample::kDown);
    register_module("downsamplers", torch::nn::ModuleList(downsample_block_));
    return;
  }
  downsample_ = Downsample(config.out_channels, config.same_padding);
  register_module("downsamplers", torch::nn::ModuleList(downsample_));
}

torch::Tensor DownStageImpl::forward(torch::Tensor h, const torch::Tensor& temb,
                                     std::vector<torch::Tensor>& skips) {
  for (size_t i = 0; i < resnets_.size(); ++i) {
    h = block(i, h, temb);
    skips.push_back(h);
  }
  if (downsample_ || downsample_block_) {
    h = downsample_ ? downsample_(h) : resample(downsample_block_, h, temb);
    skips.push_back(h);
  }
  return h;
}

MidStageImpl::MidStageImpl(const StageConfig& config)
    : StageImpl(config, config.attention ? 1 : 0) {}

torch::Tensor MidStageImpl::forward(torch::Tensor h, const torch::Tensor& temb) {
  return block(1, block(0, h, temb), temb);
}

UpStageImpl::UpStageImpl(const StageConfig& config)
    : StageImpl(config, config.attention ? config.in_channels.size() : 0) {
  if (!config.resample) return;
  if (config.residual_resample) {
    upsample_block_ = resample_block(config, Resample::kUp);
    register_module("upsamplers", torch::nn::ModuleList(upsample_block_));
    return;
  }
  upsample_ = Upsample(config.out_channels);
  register_module("upsamplers", torch::nn::ModuleList(upsample_));
}

torch::Tensor UpStageImpl::forward(torch::Tensor h, const torch::Tensor& temb,
                                   std::vector<torch::Tensor>& skips) {
  for (size_t i = 0; i < resnets_.size(); ++i) {
    h = block(i, h, skips.back(), temb);
    skips.pop_back();
  }
  if (upsample_block_) return resample(upsample_block_, h, temb);
  if (!upsample_) return h;
  // The map that the convolution would keep is four times as large as h.
  return run([this](const std::vector<torch::Tensor>& in) { return upsample_(in[0]); }, {h},
             {upsample_.get()});
}

}  // namespace ddpm::nn
