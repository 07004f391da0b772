#include "ddpm/nn/unet.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::nn {
namespace {

// The shorter side of each level's feature maps.
std::vector<int64_t> resolutions(const UNetConfig& config) {
  std::vector<int64_t> sides;
  const int64_t shorter = std::min(config.image.height, config.image.width);
  for (size_t level = 0; level < config.channel_multipliers.size(); ++level)
    sides.push_back(shorter >> level);
  return sides;
}

void check_attention(const config::Reader& reader, const UNetConfig& config) {
  const std::vector<int64_t> sides = resolutions(config);
  for (const int64_t resolution : config.attention_resolutions) {
    if (std::find(sides.begin(), sides.end(), resolution) != sides.end()) continue;
    reader.fail("attention_resolutions",
                fmt::format("holds {}; with {}x{} images and {} levels the resolutions are {}; "
                            "choose among them, or [] for no attention",
                            resolution, config.image.height, config.image.width, sides.size(),
                            fmt::join(sides, ", ")));
  }
}

// Every level but the last halves the image, so its sides must divide by 2^(levels - 1).
void check_image_size(const config::Reader& reader, const UNetConfig& config) {
  const int64_t factor = int64_t{1} << (config.channel_multipliers.size() - 1);
  const auto [channels, height, width, classes] = config.image;
  if (height % factor == 0 && width % factor == 0) return;
  const auto below = [&](int64_t side) { return std::max(factor, side / factor * factor); };
  const auto above = [&](int64_t side) { return (side + factor - 1) / factor * factor; };
  reader.fail(
      "channel_multipliers",
      fmt::format(
          "has {} levels, which halve an image {} times, but {}x{} does not divide by {}; set "
          "data.image_size to [{}, {}] or [{}, {}], or use fewer levels",
          config.channel_multipliers.size(), config.channel_multipliers.size() - 1, height, width,
          factor, below(height), below(width), above(height), above(width)));
}

// Every GroupNorm's channel count is a sum of these: the first convolution's and each level's.
void check_groups(const config::Reader& reader, const UNetConfig& config) {
  std::vector<int64_t> widths{config.channels};
  for (const int64_t m : config.channel_multipliers) widths.push_back(config.channels * m);
  for (const int64_t width : widths) {
    if (width % config.groups == 0) continue;
    if (reader.has("groups")) {
      reader.fail("groups",
                  fmt::format("is {}, which does not divide the {} channels of a level; use a "
                              "divisor of model.channels",
                              config.groups, width));
    }
    reader.fail("channels",
                fmt::format("makes a level of {} channels, which model.groups = {} does "
                            "not divide; use a multiple of {}, or set model.groups",
                            width, config.groups, config.groups));
  }
}

void check_heads(const config::Reader& reader, const UNetConfig& config) {
  const bool by_width = config.head_channels > 0;
  const int64_t divisor = by_width ? config.head_channels : config.heads;
  if (by_width && config.heads != 1) {
    reader.fail("heads", "does not go with head_channels, which sets their number; leave one out");
  }
  std::vector<int64_t> levels = attention_levels(config);
  if (config.mid_attention) levels.push_back(std::ssize(config.channel_multipliers) - 1);
  for (const int64_t level : levels) {
    const int64_t width = config.channels * config.channel_multipliers[level];
    if (width % divisor == 0) continue;
    reader.fail(by_width ? "head_channels" : "heads",
                fmt::format("is {}, which does not divide the {} channels of a level with "
                            "attention; use a divisor of them{}",
                            divisor, width, by_width ? ", or 0 for one head" : ""));
  }
}

void check_condition(const config::Reader& reader, const UNetConfig& config) {
  const auto [kind, factor, null_condition] = config.condition;
  const nn::ImageSpec& image = config.image;
  if (kind == diffusion::ConditionKind::kGrey && image.channels != 3)
    reader.fail("condition", fmt::format("= \"grey\" needs images of 3 channels, not {}; set "
                                         "data.channels = 3",
                                         image.channels));
  if (kind != diffusion::ConditionKind::kDownsample) return;
  if (image.height % factor == 0 && image.width % factor == 0) return;
  reader.fail("condition_factor", fmt::format("is {}, which does not divide {}x{} images; use a "
                                              "divisor of both sides",
                                              factor, image.height, image.width));
}

}  // namespace

void fields(config::Fields& f, UNetConfig& c) {
  f("channels", c.channels, {4, 4096});
  f("channel_multipliers", c.channel_multipliers, {1, 64}, 1);
  f("blocks", c.blocks, {1, 64});
  f("attention_resolutions", c.attention_resolutions, config::at_least(1));
  f("mid_attention", c.mid_attention);
  f("head_channels", c.head_channels, config::at_least(0));
  f("heads", c.heads, config::at_least(1));
  f("dropout", c.dropout, {0.0, 1.0, false, true});
  f("groups", c.groups, config::at_least(1));
  f("norm_eps", c.norm_eps, config::positive());
  f.two("downsample_padding", c.same_padding, "symmetric", "same");
  f.two("time_embedding", c.sinusoid.cosine_first, "sin_cos", "cos_sin");
  f("time_freq_shift", c.sinusoid.freq_shift, {0.0, 1.0});
  f("time_scale", c.sinusoid.scale, config::positive());
  f("time_scale_shift", c.time_scale_shift);
  f.two("resample", c.residual_resample, "conv", "residual");
  f("learned_variance", c.learned_variance);
  f.boolean_or_auto("class_conditional", c.class_conditional, c.classes_by_data);
  f("null_class", c.null_class);
  diffusion::ConditionConfig& condition = c.condition;
  if (!f.omits(!condition.is_set())) f("condition", condition.kind);
  if (condition.kind == diffusion::ConditionKind::kDownsample)
    f("condition_factor", condition.factor, {2, 64});
  if (condition.is_set()) f("null_condition", condition.null_condition);
  if (!f.omits(!c.self_condition)) f("self_condition", c.self_condition);
  if (!f.omits(!c.augment_labels)) f("augment_labels", c.augment_labels);
  if (!f.omits(!c.vector_conditional)) f("vector_conditional", c.vector_conditional);
}

UNetConfig read_unet_config(config::Reader& reader) {
  const auto config = config::read<UNetConfig>(reader);
  if (config.channel_multipliers.size() > 10) {
    reader.fail("channel_multipliers", fmt::format("has {} levels; must have at most 10",
                                                   config.channel_multipliers.size()));
  }
  check_groups(reader, config);
  return config;
}

void fit_to_images_(UNetConfig& config, const ImageSpec& image, config::Reader& model) {
  config.image = image;
  check_image_size(model, config);
  check_attention(model, config);
  check_heads(model, config);
  check_condition(model, config);
  if (config.classes_by_data) {
    config.class_conditional = image.classes > 1;  // one class says nothing
    config.classes_by_data = false;
    model.settle("class_conditional", config.class_conditional);
  }
  if (config.class_conditional && image.classes == 0) {
    model.fail("class_conditional",
               "is true, but the data has no labels; use data with labels, or set it to false");
  }
  if (config.vector_conditional && config.vectors.width() == 0) {
    model.fail("vector_conditional",
               "is true, but the data has no vectors; name a file of them in data.vectors, or set "
               "it to false");
  }
  if (config.null_class && !config.class_conditional && !config.vector_conditional) {
    config.null_class = false;
    model.settle("null_class", false);
  }
}

int64_t embedded_classes(const UNetConfig& config) {
  if (!config.class_conditional) return 0;
  return config.image.classes + (config.null_class ? 1 : 0);
}

bool can_be_guided(const UNetConfig& config) {
  const bool has_null = config.class_conditional || config.vector_conditional;
  return (has_null && config.null_class) || config.condition.null_condition;
}

int64_t input_channels(const UNetConfig& config) {
  const int64_t own = config.image.channels;
  return own + diffusion::condition_channels(config.condition, own) +
         (config.self_condition ? own : 0);
}

torch::Tensor whole_condition(const UNetConfig& config, const torch::Tensor& x,
                              const torch::Tensor& picture, const torch::Tensor& estimate) {
  if (!config.self_condition) return picture;
  const torch::Tensor own = estimate.defined() ? estimate.to(x) : torch::zeros_like(x);
  return picture.defined() ? torch::cat({picture.to(x), own}, /*dim=*/1) : own;
}

torch::Tensor no_condition(const UNetConfig& config, int64_t count,
                           const torch::TensorOptions& options) {
  if (!config.condition.is_set()) return {};
  const int64_t channels = diffusion::condition_channels(config.condition, config.image.channels);
  return torch::zeros({count, channels, config.image.height, config.image.width}, options);
}

torch::Tensor no_vectors(const UNetConfig& config, int64_t count, const torch::Device& device) {
  if (!config.vector_conditional) return {};
  return torch::full({count, config.vectors.width()}, std::numeric_limits<float>::quiet_NaN(),
                     torch::dtype(torch::kFloat).device(device));
}

std::vector<int64_t> attention_levels(const UNetConfig& config) {
  const std::vector<int64_t> sides = resolutions(config);
  std::vector<int64_t> levels;
  for (const int64_t resolution : config.attention_resolutions) {
    const auto side = std::find(sides.begin(), sides.end(), resolution);
    TORCH_CHECK(side != sides.end(), "no level has the resolution ", resolution);
    levels.push_back(side - sides.begin());
  }
  std::sort(levels.begin(), levels.end());
  levels.erase(std::unique(levels.begin(), levels.end()), levels.end());
  return levels;
}

void set_attention_levels_(UNetConfig& config, const std::vector<int64_t>& levels) {
  const std::vector<int64_t> sides = resolutions(config);
  config.attention_resolutions.clear();
  for (const int64_t level : levels)
    config.attention_resolutions.push_back(sides.at(static_cast<size_t>(level)));
}

}  // namespace ddpm::nn
