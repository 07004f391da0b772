#include "ddpm/nn/unet.h"

#include "ddpm/base/shape.h"
#include "ddpm/kernels/convolution.h"
#include "ddpm/nn/precision.h"
#include "fused.h"

#include <optional>

#include <ATen/autocast_mode.h>
#include <fmt/format.h>
#include <torch/types.h>

namespace ddpm::nn {
namespace {

ResnetBlockConfig block_config(const UNetConfig& config) {
  ResnetBlockConfig block;
  block.time_channels = 4 * config.channels;
  block.groups = config.groups;
  block.norm_eps = config.norm_eps;
  block.dropout = config.dropout;
  block.time_scale_shift = config.time_scale_shift;
  return block;
}

// The channels of the last up stage's output.
int64_t last_channels(const UNetConfig& config) {
  return config.channels * config.channel_multipliers.front();
}

int64_t output_channels(const UNetConfig& config) {
  return (config.learned_variance ? 2 : 1) * config.image.channels;
}

bool has_attention(const UNetConfig& config, int64_t level) {
  const std::vector<int64_t> levels = attention_levels(config);
  return std::find(levels.begin(), levels.end(), level) != levels.end();
}

}  // namespace

UNetImpl::UNetImpl(const UNetConfig& config)
    : config_(config),
      conv_in_(register_module(
          "conv_in",
          torch::nn::Conv2d(
              torch::nn::Conv2dOptions(input_channels(config), config.channels, 3).padding(1)))),
      time_embedding_(register_module(
          "time_embedding", TimeEmbedding(config.channels, 4 * config.channels, config.sinusoid))),
      conv_norm_out_(register_module(
          "conv_norm_out", GroupNorm(config.groups, last_channels(config), config.norm_eps))),
      conv_out_(register_module(
          "conv_out", torch::nn::Conv2d(torch::nn::Conv2dOptions(last_channels(config),
                                                                 output_channels(config), 3)
                                            .padding(1)))) {
  if (config.class_conditional) {
    class_embedding_ = register_module(
        "class_embedding", torch::nn::Embedding(embedded_classes(config), 4 * config.channels));
  }
  const auto levels = static_cast<int64_t>(config.channel_multipliers.size());
  const auto stage_for = [&](int64_t level) {
    StageConfig stage;
    stage.out_channels = config.channels * config.channel_multipliers[level];
    stage.attention = has_attention(config, level);
    stage.same_padding = config.same_padding;
    stage.block = block_config(config);
    stage.head_channels = config.head_channels;
    stage.heads = config.heads;
    stage.residual_resample = config.residual_resample;
    return stage;
  };

  // Down: the channel counts of all outputs, conv_in's included, are what the way up will find on
  // the stack.
  std::vector<int64_t> skip_channels{config.channels};
  int64_t current = config.channels;
  auto down = register_module("down_blocks", torch::nn::ModuleList());
  for (int64_t level = 0; level < levels; ++level) {
    StageConfig stage = stage_for(level);
    for (int64_t i = 0; i < config.blocks; ++i) {
      stage.in_channels.push_back(current);
      current = stage.out_channels;
      skip_channels.push_back(current);
    }
    stage.resample = level + 1 < levels;
    if (stage.resample) skip_channels.push_back(current);
    down_blocks_.emplace_back(stage);
    down->push_back(down_blocks_.back());
  }

  StageConfig mid = stage_for(levels - 1);
  mid.attention = config.mid_attention;
  mid.in_channels = {current, current};
  mid_block_ = register_module("mid_block", MidStage(mid));

  auto up = register_module("up_blocks", torch::nn::ModuleList());
  for (int64_t level = levels - 1; level >= 0; --level) {
    StageConfig stage = stage_for(level);
    for (int64_t i = 0; i <= config.blocks; ++i) {
      stage.in_channels.push_back(current + skip_channels.back());
      skip_channels.pop_back();
      current = stage.out_channels;
    }
    stage.resample = level > 0;
    up_blocks_.emplace_back(stage);
    up->push_back(up_blocks_.back());
  }
  if (config.augment_labels) {
    augment_embedding_ = register_module(
        "augment_embedding",
        torch::nn::Linear(torch::nn::LinearOptions(kAugmentLabels, config.channels).bias(false)));
  }
  if (config.vector_conditional) {
    const VectorSpec& spec = config.vectors;
    vector_embedding_ =
        register_module("vector_embedding", torch::nn::Linear(spec.width(), 4 * config.channels));
    vector_mean_ = register_buffer("vector_mean", torch::tensor(spec.mean, torch::kFloat));
    vector_deviation_ =
        register_buffer("vector_deviation", torch::tensor(spec.deviation, torch::kFloat));
  }
}

torch::Tensor UNetImpl::forward(const torch::Tensor& x, const torch::Tensor& t,
                                const torch::Tensor& labels, const torch::Tensor& condition,
                                const torch::Tensor& augment, const torch::Tensor& vectors) {
  expect_shape(x, {-1, config_.image.channels, -1, -1}, "x");
  expect_shape(t, {x.size(0)}, "t");
  TORCH_CHECK(labels.defined() == config_.class_conditional,
              "labels go with a class-conditional network, and only with one");
  TORCH_CHECK(condition.defined() == (config_.condition.is_set() || config_.self_condition),
              "a condition goes with a network that has one, and only with one");
  TORCH_CHECK(config_.augment_labels || !augment.defined(),
              "labels of the augmentation go only with a network that reads them");
  TORCH_CHECK(vectors.defined() == config_.vector_conditional,
              "vectors go with a vector-conditional network, and only with one");

  std::optional<WeightCopies> copies;
  std::optional<WeightCopiesGuard> guard;
  if (!WeightCopiesGuard::active() && uses_copies(x.device()))
    guard.emplace(copies.emplace(weight_copies()));
  torch::Tensor temb = time_embedding_(t, of_augment(augment));
  if (config_.class_conditional) temb = temb + class_embedding_(labels);
  if (config_.vector_conditional) temb = temb + of_vectors(vectors);
  temb = torch::silu(temb);  // every block begins with it: once here instead of once a block

  torch::Tensor h =
      of_image(condition.defined() ? torch::cat({x, condition.to(x.scalar_type())}, /*dim=*/1) : x);
  std::vector<torch::Tensor> skips{h};
  for (DownStage& stage : down_blocks_) h = stage(h, temb, skips);
  h = mid_block_(h, temb);
  for (UpStage& stage : up_blocks_) h = stage(h, temb, skips);
  return to_image(norm_silu(conv_norm_out_, h));
}

bool UNetImpl::uses_copies(const torch::Device& device) const {
  return device.is_cuda() && conv_in_->weight.scalar_type() == torch::kFloat &&
         at::autocast::is_autocast_enabled(torch::kCUDA) &&
         at::autocast::get_autocast_dtype(torch::kCUDA) == torch::kBFloat16;
}

WeightCopies UNetImpl::weight_copies() const {
  std::vector<torch::Tensor> weights;
  const auto add = [&](const torch::nn::Module& module) {
    for (const torch::Tensor& p : module.parameters()) {
      if (p.dim() > 1) weights.push_back(p);
    }
  };
  add(*time_embedding_);
  for (const DownStage& stage : down_blocks_) add(*stage);
  add(*mid_block_);
  for (const UpStage& stage : up_blocks_) add(*stage);
  return WeightCopies(weights);
}

// What joins the sinusoids of t; undefined for images that are not augmented. In float32 under
// autocast too: a product of nine numbers.
torch::Tensor UNetImpl::of_augment(const torch::Tensor& augment) {
  if (!augment.defined()) return {};
  const NoAutocastGuard full(augment.device().type());
  return augment_embedding_(augment.to(augment_embedding_->weight.scalar_type()));
}

// W (v - mean) / deviation + b of each image; zero of one without a vector, whose NaN reaches no
// gradient. In float32 under autocast too, so that numbers of any size keep their digits.
torch::Tensor UNetImpl::of_vectors(const torch::Tensor& vectors) {
  expect_shape(vectors, {-1, config_.vectors.width()}, "vectors");
  const NoAutocastGuard full(vectors.device().type());
  const torch::Tensor absent = vectors.narrow(1, 0, 1).isnan();
  const torch::Tensor v = vectors.to(vector_embedding_->weight.scalar_type());
  const torch::Tensor z = ((v - vector_mean_) / vector_deviation_).masked_fill(absent, 0.0);
  return vector_embedding_(z).masked_fill(absent, 0.0);
}

// The first and the last convolution run in float32 under autocast too, so that the image and the
// prediction are not rounded to bfloat16. They are a small part of the work.
torch::Tensor UNetImpl::of_image(const torch::Tensor& x) {
  const torch::DeviceType device = x.device().type();
  const torch::Dtype type = at::autocast::is_autocast_enabled(device)
                                ? at::autocast::get_autocast_dtype(device)
                                : conv_in_->weight.scalar_type();
  const NoAutocastGuard full(device);
  return kernels::thin_convolution(x, conv_in_->weight, conv_in_->bias, type);
}

torch::Tensor UNetImpl::to_image(const torch::Tensor& h) {
  const NoAutocastGuard full(h.device().type());
  return kernels::thin_convolution(h, conv_out_->weight, conv_out_->bias,
                                   conv_out_->weight.scalar_type());
}

void UNetImpl::set_recompute_(bool recompute) {
  for (DownStage& stage : down_blocks_) stage->set_recompute_(recompute);
  mid_block_->set_recompute_(recompute);
  for (UpStage& stage : up_blocks_) stage->set_recompute_(recompute);
}

int64_t parameter_count(const torch::nn::Module& module) {
  int64_t count = 0;
  for (const torch::Tensor& p : module.parameters()) count += p.numel();
  return count;
}

void use_channels_last_(torch::nn::Module& module) {
  const torch::NoGradGuard no_grad;
  for (torch::Tensor& p : module.parameters()) {
    if (p.dim() == 4) p.set_data(p.contiguous(torch::MemoryFormat::ChannelsLast));
  }
}

}  // namespace ddpm::nn
