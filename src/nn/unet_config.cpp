#include "ddpm/nn/unet.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::nn {
namespace {

// Levels whose feature maps have the given resolutions; a resolution is the map's shorter side.
std::vector<int64_t> levels_at(const config::Reader& reader,
                               const std::vector<int64_t>& resolutions, const UNetConfig& config) {
  std::vector<int64_t> sides;
  const int64_t shorter = std::min(config.image.height, config.image.width);
  for (size_t level = 0; level < config.channel_multipliers.size(); ++level) {
    sides.push_back(shorter >> level);
  }
  std::vector<int64_t> levels;
  for (const int64_t resolution : resolutions) {
    const auto side = std::find(sides.begin(), sides.end(), resolution);
    if (side == sides.end()) {
      reader.fail("attention_resolutions",
                  fmt::format("holds {}; with {}x{} images and {} levels the resolutions are {}; "
                              "choose among them, or [] for no attention",
                              resolution, config.image.height, config.image.width, sides.size(),
                              fmt::join(sides, ", ")));
    }
    levels.push_back(side - sides.begin());
  }
  std::sort(levels.begin(), levels.end());
  levels.erase(std::unique(levels.begin(), levels.end()), levels.end());
  return levels;
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
  std::vector<int64_t> levels = config.attention_levels;
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

}  // namespace

UNetConfig read_unet_config(config::Reader& reader, const std::optional<ImageSpec>& image) {
  UNetConfig c;
  c.channels = reader.integer("channels", c.channels, {4, 4096});
  c.channel_multipliers = reader.integers("channel_multipliers", c.channel_multipliers, {1, 64}, 1);
  if (c.channel_multipliers.size() > 10) {
    reader.fail("channel_multipliers",
                fmt::format("has {} levels; must have at most 10", c.channel_multipliers.size()));
  }
  c.blocks = reader.integer("blocks", c.blocks, {1, 64});
  const std::vector<int64_t> resolutions =
      reader.integers("attention_resolutions", {16}, config::at_least(1));
  c.mid_attention = reader.boolean("mid_attention", c.mid_attention);
  c.head_channels = reader.integer("head_channels", c.head_channels, config::at_least(0));
  c.heads = reader.integer("heads", c.heads, config::at_least(1));
  c.dropout = reader.real("dropout", c.dropout, {0.0, 1.0, false, true});
  c.groups = reader.integer("groups", c.groups, config::at_least(1));
  c.norm_eps = reader.real("norm_eps", c.norm_eps, config::positive());
  c.same_padding = reader.choice("downsample_padding", "same", {"same", "symmetric"}) == "same";
  c.sinusoid.cosine_first =
      reader.choice("time_embedding", "sin_cos", {"sin_cos", "cos_sin"}) == "cos_sin";
  c.sinusoid.freq_shift = reader.real("time_freq_shift", c.sinusoid.freq_shift, {0.0, 1.0});
  c.sinusoid.scale = reader.real("time_scale", c.sinusoid.scale, config::positive());
  c.time_scale_shift = reader.boolean("time_scale_shift", c.time_scale_shift);
  c.residual_resample = reader.choice("resample", "conv", {"conv", "residual"}) == "residual";
  c.learned_variance = reader.boolean("learned_variance", c.learned_variance);
  const auto by_class = reader.boolean_or_auto("class_conditional", c.class_conditional);
  c.class_conditional = by_class.value_or(false);
  check_groups(reader, c);
  if (!image) return c;

  c.image = *image;
  check_image_size(reader, c);
  c.attention_levels = levels_at(reader, resolutions, c);
  check_heads(reader, c);
  if (!by_class) {  // one class says nothing
    c.class_conditional = image->classes > 1;
    reader.settle("class_conditional", c.class_conditional);
  }
  if (c.class_conditional && image->classes == 0) {
    reader.fail("class_conditional",
                "is true, but the data has no labels; use data with labels, or set it to false");
  }
  return c;
}

}  // namespace ddpm::nn
