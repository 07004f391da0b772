// unet/config.json.
#include "ddpm/exchange/diffusers_config.h"
#include "ddpm/io/json_text.h"
#include "diffusers_version.h"
#include "json_reader.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

namespace ddpm::exchange {
namespace {

using Json = nlohmann::ordered_json;
using Names = std::vector<std::string>;

// The keys that diffusers' EMAModel adds to the config of the EMA weights.
constexpr std::array<const char*, 7> kOfAverages = {
    "decay", "inv_gamma",         "min_decay",     "optimization_step",
    "power", "update_after_step", "use_ema_warmup"};

// The name of a stage with or without attention, resampling by a convolution or a residual block.
std::string stage_name(bool attention, bool residual, bool down) {
  const std::string way = down ? "Down" : "Up";
  if (attention) return fmt::format("Attn{}Block2D", way);
  return residual ? fmt::format("Resnet{}sampleBlock2D", way) : fmt::format("{}Block2D", way);
}

// The levels with attention, from the names of the stages.
std::vector<int64_t> levels_with_attention(JsonReader& json, const std::string& key,
                                           const Names& stages, bool residual, bool down) {
  std::vector<int64_t> levels;
  const auto count = static_cast<int64_t>(stages.size());
  for (int64_t i = 0; i < count; ++i) {
    const int64_t level = down ? i : count - 1 - i;
    const bool resamples = down ? level < count - 1 : level > 0;
    if (stages[i] == stage_name(true, residual, down)) {
      levels.push_back(level);
    } else if (stages[i] != stage_name(false, residual, down) &&
               (resamples || stages[i] != stage_name(false, !residual, down))) {
      json.fail(key,
                fmt::format("holds {}, which cannot be expressed here; {} and {} can", stages[i],
                            stage_name(false, residual, down), stage_name(true, residual, down)));
    }
  }
  std::sort(levels.begin(), levels.end());
  return levels;
}

void read_image(JsonReader& json, nn::UNetConfig& c) {
  if (!json.has("sample_size")) json.fail("sample_size", "leaves the images' size open; write it");
  std::vector<int64_t> size;
  if (json.raw("sample_size").is_number_integer()) {
    size.assign(2, json.get<int64_t>("sample_size", 0));
  } else {
    size = json.get<std::vector<int64_t>>("sample_size", {});
  }
  if (size.size() != 2) json.fail("sample_size", "must be one number or [height, width]");
  c.image.height = size[0];
  c.image.width = size[1];
  c.image.channels = json.get<int64_t>("in_channels", 3);
  const int64_t out = json.get<int64_t>("out_channels", 3);
  c.learned_variance = out == 2 * c.image.channels;
  if (!c.learned_variance && out != c.image.channels)
    json.fail("out_channels", "must be in_channels, or twice that for a learned variance");
  const auto embedded = json.get<int64_t>("num_class_embeds", 0);
  c.class_conditional = embedded > 0;
  // Written by us; diffusers ignores keys that begin with an underscore.
  c.null_class = json.get<bool>("_null_class", false) && embedded > 1;
  c.image.classes = embedded - (c.null_class ? 1 : 0);
}

void read_levels(JsonReader& json, nn::UNetConfig& c) {
  const auto widths = json.get<std::vector<int64_t>>("block_out_channels", {224, 448, 672, 896});
  if (widths.empty() || widths[0] < 1) json.fail("block_out_channels", "holds no widths");
  c.channels = widths[0];
  c.channel_multipliers.clear();
  for (const int64_t width : widths) {
    if (width % c.channels != 0)
      json.fail("block_out_channels",
                "cannot be expressed: every width must be a multiple of the first");
    c.channel_multipliers.push_back(width / c.channels);
  }
  const std::string down_type = json.get<std::string>("downsample_type", "conv");
  const auto down = json.get<Names>(
      "down_block_types", {"DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"});
  const auto up = json.get<Names>("up_block_types",
                                  {"AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"});
  if (down.size() != widths.size() || up.size() != widths.size())
    json.fail("down_block_types", "and up_block_types must be as long as block_out_channels");
  c.residual_resample = down_type == "resnet" || std::find(down.begin(), down.end(),
                                                           "ResnetDownsampleBlock2D") != down.end();
  if (down_type != "conv" && down_type != "resnet")
    json.fail("downsample_type", "cannot be expressed; conv and resnet can");
  const std::vector<int64_t> attended =
      levels_with_attention(json, "down_block_types", down, c.residual_resample, true);
  if (levels_with_attention(json, "up_block_types", up, c.residual_resample, false) != attended)
    json.fail("up_block_types", "has attention at other levels than down_block_types");
  nn::set_attention_levels_(c, attended);
  // diffusers uses the resampling type only in stages with attention.
  const auto matters = [&](int64_t from, int64_t to) {
    return std::any_of(attended.begin(), attended.end(),
                       [&](int64_t level) { return level >= from && level < to; });
  };
  const auto last = static_cast<int64_t>(widths.size()) - 1;
  const std::string type = c.residual_resample ? "resnet" : "conv";
  if (matters(0, last) && down_type != type)
    json.fail("downsample_type", "and down_block_types resample in different ways");
  if (json.get<std::string>("upsample_type", "conv") != type && matters(1, last + 1))
    json.fail("upsample_type", "differs from the way that is taken down");
}

void read_blocks(JsonReader& json, nn::UNetConfig& c) {
  c.blocks = json.get<int64_t>("layers_per_block", 2);
  c.dropout = json.get<double>("dropout", 0.0);
  c.groups = json.get<int64_t>("norm_num_groups", 32);
  c.norm_eps = json.get<double>("norm_eps", 1e-5);
  const int64_t padding = json.get<int64_t>("downsample_padding", 1);
  if (padding != 0 && padding != 1)
    json.fail("downsample_padding", "cannot be expressed; 0 and 1 can");
  c.same_padding = padding == 0;
  // null means one head; a missing key has the default.
  c.head_channels = json.get<int64_t>("attention_head_dim", 0);
  if (c.head_channels == 0 && !json.written("attention_head_dim")) c.head_channels = 8;
  c.mid_attention = json.get<bool>("add_attention", true);
  const std::string shift = json.get<std::string>("resnet_time_scale_shift", "default");
  if (shift != "default" && shift != "scale_shift")
    json.fail("resnet_time_scale_shift", "cannot be expressed; default and scale_shift can");
  c.time_scale_shift = shift == "scale_shift";
  const int64_t mid_groups =
      json.get<int64_t>("attn_norm_num_groups", c.time_scale_shift ? 0 : c.groups);
  if (c.mid_attention && mid_groups != c.groups)
    json.fail("attn_norm_num_groups",
              "cannot be expressed: the innermost attention must be normalised as all others, with "
              "norm_num_groups groups");
}

void read_time(JsonReader& json, nn::UNetConfig& c) {
  json.expect<std::string>("time_embedding_type", "positional");
  json.expect<int64_t>("time_embedding_dim", 4 * c.channels);
  c.sinusoid.cosine_first = json.get<bool>("flip_sin_to_cos", true);
  c.sinusoid.freq_shift = json.get<double>("freq_shift", 0.0);
}

void read_rest(JsonReader& json) {
  const std::string activation = json.get<std::string>("act_fn", "silu");
  if (activation != "silu" && activation != "swish")
    json.fail("act_fn", "cannot be expressed; only silu can");
  json.expect<bool>("center_input_sample", false);
  json.expect<double>("mid_block_scale_factor", 1.0);
  if (json.written("mid_block_type"))  // null: no innermost stage
    json.expect_written<std::string>("mid_block_type", "UNetMidBlock2D");
  json.expect_null("class_embed_type");
  json.ignore("num_train_timesteps");
  for (const char* key : kOfAverages) json.ignore(key);
}

}  // namespace

nn::UNetConfig parse_unet_config(std::string_view text, const std::filesystem::path& path) {
  JsonReader json(text, path);
  json.expect<std::string>("_class_name", "UNet2DModel");
  nn::UNetConfig c;
  read_image(json, c);
  read_levels(json, c);
  read_blocks(json, c);
  read_time(json, c);
  read_rest(json);
  json.check_all_read();
  return c;
}

std::vector<std::string> parse_class_names(std::string_view text) {
  const nlohmann::json json = parse_json_object(text, "config.json");
  if (!json.contains("_class_names")) return {};
  const nlohmann::json& names = json["_class_names"];
  const bool texts = names.is_array() && std::all_of(names.begin(), names.end(),
                                                     [](const auto& n) { return n.is_string(); });
  return texts ? names.get<Names>() : Names{};
}

namespace {

void check_expressible(const nn::UNetConfig& c) {
  if (c.channel_multipliers.front() != 1) {
    throw UsageError(
        fmt::format("model.channel_multipliers begins with {}: a UNet2DModel's first level is as "
                    "wide as its first "
                    "convolution; --to safetensors and torch take any network",
                    c.channel_multipliers.front()));
  }
  if (c.condition.is_set())
    throw UsageError(fmt::format(
        "model.condition = \"{}\": diffusers' pipelines give a UNet2DModel nothing but x_t; use "
        "--to safetensors or torch",
        config::to_string(c.condition.kind)));
  if (c.self_condition)
    throw UsageError(
        "model.self_condition: diffusers' pipelines give a UNet2DModel nothing but x_t, not its "
        "own estimate; use --to safetensors or torch");
  if (c.vector_conditional)
    throw UsageError(
        "model.vector_conditional: diffusers' pipelines give a UNet2DModel a class at most, no "
        "vector; use --to safetensors or torch");
  if (c.sinusoid.scale != 1.0)
    throw UsageError(
        "model.time_scale has no counterpart in a UNet2DModel; use --to safetensors or torch");
}

std::vector<int64_t> level_widths(const nn::UNetConfig& c) {
  std::vector<int64_t> widths;
  for (const int64_t m : c.channel_multipliers) widths.push_back(m * c.channels);
  return widths;
}

// "attention_head_dim": channels per head; null: one head.
Json head_width(const nn::UNetConfig& c, const std::vector<int64_t>& widths) {
  if (c.head_channels > 0) return c.head_channels;
  std::vector<int64_t> attended = nn::attention_levels(c);
  if (c.mid_attention) attended.push_back(std::ssize(widths) - 1);
  if (c.heads == 1 || attended.empty()) return nullptr;
  for (const int64_t level : attended) {
    if (widths[level] == widths[attended[0]]) continue;
    throw UsageError(fmt::format(
        "model.heads = {} at levels of {} and {} channels: a UNet2DModel's heads are all "
        "of one width; use --to safetensors or torch",
        c.heads, widths[attended[0]], widths[level]));
  }
  return widths[attended[0]] / c.heads;
}

struct StageNames {
  Names down, up;
};
StageNames stage_names(const nn::UNetConfig& c) {
  const std::vector<int64_t> attended = nn::attention_levels(c);
  StageNames names;
  for (int64_t level = 0; level < std::ssize(c.channel_multipliers); ++level) {
    const bool attention = std::find(attended.begin(), attended.end(), level) != attended.end();
    names.down.push_back(stage_name(attention, c.residual_resample, true));
    names.up.insert(names.up.begin(), stage_name(attention, c.residual_resample, false));
  }
  return names;
}

Json side_of(const nn::ImageSpec& image) {
  if (image.height == image.width) return image.height;
  return Json{image.height, image.width};
}

Json shift_of(double freq_shift) {
  if (freq_shift == std::floor(freq_shift)) return static_cast<int64_t>(freq_shift);
  return freq_shift;
}

}  // namespace

std::string unet_config_text(const nn::UNetConfig& c, const std::vector<std::string>& class_names) {
  check_expressible(c);
  const std::vector<int64_t> widths = level_widths(c);
  const StageNames stages = stage_names(c);
  const char* type = c.residual_resample ? "resnet" : "conv";
  Json json{{"_class_name", "UNet2DModel"},
            {"_diffusers_version", kDiffusersVersion},
            {"act_fn", "silu"},
            {"add_attention", c.mid_attention},
            {"attention_head_dim", head_width(c, widths)},
            {"attn_norm_num_groups", nullptr},
            {"block_out_channels", widths},
            {"center_input_sample", false},
            {"class_embed_type", nullptr},
            {"down_block_types", stages.down},
            {"downsample_padding", c.same_padding ? 0 : 1},
            {"downsample_type", type},
            {"dropout", c.dropout},
            {"flip_sin_to_cos", c.sinusoid.cosine_first},
            {"freq_shift", shift_of(c.sinusoid.freq_shift)},
            {"in_channels", c.image.channels},
            {"layers_per_block", c.blocks},
            {"mid_block_scale_factor", 1},
            {"mid_block_type", "UNetMidBlock2D"},
            {"norm_eps", c.norm_eps},
            {"norm_num_groups", c.groups},
            {"num_class_embeds", nullptr},
            {"num_train_timesteps", nullptr},
            {"out_channels", (c.learned_variance ? 2 : 1) * c.image.channels},
            {"resnet_time_scale_shift", c.time_scale_shift ? "scale_shift" : "default"},
            {"sample_size", side_of(c.image)},
            {"time_embedding_dim", nullptr},
            {"time_embedding_type", "positional"},
            {"up_block_types", stages.up},
            {"upsample_type", type}};
  // With scale_shift, the middle attention has a norm only if this key is set.
  if (c.time_scale_shift) json["attn_norm_num_groups"] = c.groups;
  if (c.class_conditional) json["num_class_embeds"] = nn::embedded_classes(c);
  if (c.null_class) json["_null_class"] = true;
  if (!class_names.empty()) json["_class_names"] = class_names;
  return io::json_text(json, 2) + "\n";
}

}  // namespace ddpm::exchange
