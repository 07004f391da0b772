#include "ddpm/exchange/diffusers_config.h"

#include "json_reader.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

namespace ddpm::exchange {
namespace {

using diffusion::Prediction;
using diffusion::ScheduleKind;
using Json = nlohmann::ordered_json;
using Names = std::vector<std::string>;

constexpr const char* kVersion = "0.42.1";  // of the library whose format this is
constexpr double kCosineOffset = 0.008;     // squaredcos_cap_v2 knows no other
constexpr int64_t kMaxTimesteps = 1'000'000;
constexpr int64_t kDdimSteps = 50;  // DDIMPipeline's default

// What a stage is called: attention or not, resampling by convolution or by a residual block.
std::string stage_name(bool attention, bool residual, bool down) {
  const std::string way = down ? "Down" : "Up";
  if (attention) return fmt::format("Attn{}Block2D", way);
  return residual ? fmt::format("Resnet{}sampleBlock2D", way) : fmt::format("{}Block2D", way);
}

// Which levels have attention, from the names of the stages.
std::vector<int64_t> attention_levels(JsonReader& json, const std::string& key, const Names& stages,
                                      bool residual, bool down) {
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
  c.image.classes = json.get<int64_t>("num_class_embeds", 0);
  c.class_conditional = c.image.classes > 0;
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
  c.attention_levels = attention_levels(json, "down_block_types", down, c.residual_resample, true);
  if (attention_levels(json, "up_block_types", up, c.residual_resample, false) !=
      c.attention_levels)
    json.fail("up_block_types", "has attention at other levels than down_block_types");
  // Only stages with attention ask what the type of resampling is.
  const auto matters = [&](int64_t from, int64_t to) {
    return std::any_of(c.attention_levels.begin(), c.attention_levels.end(),
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
  // null is one head, but a key that is not written has the default.
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
}

// --- schedulers
constexpr std::array<std::pair<const char*, Prediction>, 3> kPredictions = {
    {{"epsilon", Prediction::kEpsilon},
     {"sample", Prediction::kX0},
     {"v_prediction", Prediction::kV}}};

Prediction read_prediction(JsonReader& json) {
  // Before prediction_type there was a flag.
  const bool epsilon = json.get<bool>("predict_epsilon", true);
  const auto name = json.get<std::string>("prediction_type", epsilon ? "epsilon" : "sample");
  for (const auto& [theirs, ours] : kPredictions) {
    if (name == theirs) return ours;
  }
  json.fail("prediction_type", "cannot be expressed; epsilon, sample and v_prediction can");
}

// Lin et al. 2024, Algorithm 1: sqrt(alpha_bar) shifted to end at 0 and scaled to begin as before.
std::vector<double> zero_snr_betas(const diffusion::Schedule& schedule) {
  const int64_t last = schedule.timesteps();
  const double first_root = std::sqrt(schedule.alpha_bar(1));
  const double last_root = std::sqrt(schedule.alpha_bar(last));
  std::vector<double> betas;
  double before = 1.0;
  for (int64_t t = 1; t <= last; ++t) {
    const double root =
        (std::sqrt(schedule.alpha_bar(t)) - last_root) * first_root / (first_root - last_root);
    betas.push_back(t == last ? 1.0 : 1.0 - root * root / before);
    before = root * root;
  }
  return betas;
}

diffusion::ScheduleConfig read_schedule(JsonReader& json) {
  diffusion::ScheduleConfig c;
  c.timesteps = json.get<int64_t>("num_train_timesteps", 1000);
  c.beta_start = json.get<double>("beta_start", 1e-4);
  c.beta_end = json.get<double>("beta_end", 0.02);
  c.betas = json.get<std::vector<double>>("trained_betas", {});
  const auto name = json.get<std::string>("beta_schedule", "linear");
  if (c.timesteps < 1 || c.timesteps > kMaxTimesteps)
    json.fail("num_train_timesteps", fmt::format("must be 1 to {}", kMaxTimesteps));
  for (const auto& [key, beta] :
       {std::pair("beta_start", c.beta_start), {"beta_end", c.beta_end}}) {
    if (!(beta > 0 && beta < 1)) json.fail(key, "must lie between 0 and 1");
  }
  if (!c.betas.empty()) {
    c.kind = ScheduleKind::kTable;
    if (static_cast<int64_t>(c.betas.size()) != c.timesteps)
      json.fail("trained_betas",
                fmt::format("must have num_train_timesteps = {} entries", c.timesteps));
    for (const double beta : c.betas) {
      if (!(beta > 0 && beta <= 1)) json.fail("trained_betas", "must lie between 0 and 1");
    }
  } else if (name == "linear") {
    c.kind = ScheduleKind::kLinear;
  } else if (name == "scaled_linear") {
    c.kind = ScheduleKind::kQuadratic;
  } else if (name == "squaredcos_cap_v2") {
    c.kind = ScheduleKind::kCosine;
  } else if (name == "sigmoid") {
    c.kind = ScheduleKind::kSigmoid;
  } else {
    json.fail("beta_schedule",
              "cannot be expressed; linear, scaled_linear, squaredcos_cap_v2 and sigmoid can, and "
              "any list as trained_betas");
  }
  if (json.get<bool>("rescale_betas_zero_snr", false)) {
    c.betas = zero_snr_betas(diffusion::Schedule(c));
    c.kind = ScheduleKind::kTable;
  }
  return c;
}

sample::Sigma read_variance(JsonReader& json) {
  const auto name = json.get<std::string>("variance_type", "fixed_small");
  if (name == "fixed_small" || name == "fixed_small_log") return sample::Sigma::kSmall;
  if (name == "fixed_large" || name == "fixed_large_log") return sample::Sigma::kLarge;
  if (name == "learned_range") return sample::Sigma::kLearned;
  json.fail("variance_type",
            "cannot be expressed; fixed_small, fixed_large (and their _log) and learned_range can");
}

sample::SampleConfig read_sampling(JsonReader& json, bool ddim, int64_t timesteps) {
  sample::SampleConfig c;
  c.method = ddim ? sample::Method::kDdim : sample::Method::kDdpm;
  c.steps = ddim ? std::min(kDdimSteps, timesteps) : 0;
  const sample::Sigma sigma = read_variance(json);
  if (!ddim) c.sigma = sigma;
  c.clip = json.get<bool>("clip_sample", true) ? sample::Clip::kClip : sample::Clip::kNone;
  c.clip_range = json.get<double>("clip_sample_range", 1.0);
  const auto spacing = json.get<std::string>("timestep_spacing", "leading");
  const Names& names = sample::spacing_names();
  const auto found = std::find(names.begin(), names.end(), spacing);
  if (found == names.end() || spacing == "quadratic")
    json.fail("timestep_spacing", "cannot be expressed; leading, trailing and linspace can");
  c.spacing = static_cast<sample::Spacing>(found - names.begin());
  c.steps_offset = json.get<int64_t>("steps_offset", 0);
  if (c.steps_offset < 0) json.fail("steps_offset", "must not be negative");
  const bool to_one = json.get<bool>("set_alpha_to_one", true);
  if (ddim && !to_one) c.last_alpha = sample::LastAlpha::kFirst;
  return c;
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
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("_class_names")) return {};
  const nlohmann::json& names = json["_class_names"];
  const bool texts = names.is_array() && std::all_of(names.begin(), names.end(),
                                                     [](const auto& n) { return n.is_string(); });
  return texts ? names.get<Names>() : Names{};
}

SchedulerSettings parse_scheduler_config(std::string_view text, const std::filesystem::path& path) {
  JsonReader json(text, path);
  const auto name = json.get<std::string>("_class_name", "DDPMScheduler");
  if (name != "DDPMScheduler" && name != "DDIMScheduler") {
    json.fail(
        "_class_name",
        "cannot be expressed; DDPMScheduler and DDIMScheduler can, and either may stand for it "
        "where beta_schedule and prediction_type are the same");
  }
  SchedulerSettings settings;
  settings.diffusion.schedule = read_schedule(json);
  settings.diffusion.prediction = read_prediction(json);
  settings.sample =
      read_sampling(json, name == "DDIMScheduler", settings.diffusion.schedule.timesteps);
  json.expect<bool>("thresholding", false);
  for (const char* key : {"dynamic_thresholding_ratio", "sample_max_value", "tensor_format"})
    json.ignore(key);
  json.check_all_read();
  return settings;
}

std::string unet_config_text(const nn::UNetConfig& c, const std::vector<std::string>& class_names) {
  if (c.channel_multipliers.front() != 1) {
    throw UsageError(
        fmt::format("model.channel_multipliers begins with {}: a UNet2DModel's first level is as "
                    "wide as its first "
                    "convolution; --to safetensors and torch take any network",
                    c.channel_multipliers.front()));
  }
  if (c.sinusoid.scale != 1.0)
    throw UsageError(
        "model.time_scale has no counterpart in a UNet2DModel; use --to safetensors or torch");
  std::vector<int64_t> widths, attended = c.attention_levels;
  for (const int64_t m : c.channel_multipliers) widths.push_back(m * c.channels);
  const auto levels = static_cast<int64_t>(widths.size());
  if (c.mid_attention) attended.push_back(levels - 1);
  Json head_dim = nullptr;  // one head
  if (c.head_channels > 0) head_dim = c.head_channels;
  if (c.head_channels == 0 && c.heads != 1 && !attended.empty()) {
    head_dim = widths[attended[0]] / c.heads;
    for (const int64_t level : attended) {
      if (widths[level] == widths[attended[0]]) continue;
      throw UsageError(fmt::format(
          "model.heads = {} at levels of {} and {} channels: a UNet2DModel's heads are all "
          "of one width; use --to safetensors or torch",
          c.heads, widths[attended[0]], widths[level]));
    }
  }
  Names down, up;
  for (int64_t level = 0; level < levels; ++level) {
    const auto& all = c.attention_levels;
    const bool attention = std::find(all.begin(), all.end(), level) != all.end();
    down.push_back(stage_name(attention, c.residual_resample, true));
    up.insert(up.begin(), stage_name(attention, c.residual_resample, false));
  }
  const char* type = c.residual_resample ? "resnet" : "conv";
  Json size = {c.image.height, c.image.width};
  if (c.image.height == c.image.width) size = c.image.height;
  Json json{{"_class_name", "UNet2DModel"},
            {"_diffusers_version", kVersion},
            {"act_fn", "silu"},
            {"add_attention", c.mid_attention},
            {"attention_head_dim", head_dim},
            {"attn_norm_num_groups", nullptr},
            {"block_out_channels", widths},
            {"center_input_sample", false},
            {"class_embed_type", nullptr},
            {"down_block_types", down},
            {"downsample_padding", c.same_padding ? 0 : 1},
            {"downsample_type", type},
            {"dropout", c.dropout},
            {"flip_sin_to_cos", c.sinusoid.cosine_first},
            {"freq_shift", c.sinusoid.freq_shift},
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
            {"sample_size", size},
            {"time_embedding_dim", nullptr},
            {"time_embedding_type", "positional"},
            {"up_block_types", up},
            {"upsample_type", type}};
  if (c.sinusoid.freq_shift == std::floor(c.sinusoid.freq_shift))
    json["freq_shift"] = static_cast<int64_t>(c.sinusoid.freq_shift);
  // With scale_shift the innermost attention is normalised only where this says so.
  if (c.time_scale_shift) json["attn_norm_num_groups"] = c.groups;
  if (c.class_conditional) json["num_class_embeds"] = c.image.classes;
  if (!class_names.empty()) json["_class_names"] = class_names;
  return json.dump(2) + "\n";
}

std::string scheduler_config_text(const SchedulerSettings& settings) {
  const diffusion::ScheduleConfig& schedule = settings.diffusion.schedule;
  const sample::SampleConfig& c = settings.sample;
  const auto prediction =
      std::find_if(kPredictions.begin(), kPredictions.end(),
                   [&](const auto& pair) { return pair.second == settings.diffusion.prediction; });
  if (prediction == kPredictions.end()) {
    throw UsageError(fmt::format(
        "diffusion.prediction = {} has no counterpart in diffusers; use --to safetensors or torch",
        diffusion::to_string(settings.diffusion.prediction)));
  }
  const bool ddim = c.method == sample::Method::kDdim;
  const bool capped_cosine =
      schedule.kind == ScheduleKind::kCosine && schedule.cosine_s == kCosineOffset;
  // The others as numbers: DDIMScheduler knows fewer names than DDPMScheduler.
  std::string name = "linear";
  if (schedule.kind == ScheduleKind::kQuadratic) name = "scaled_linear";
  if (capped_cosine) name = "squaredcos_cap_v2";
  Json betas = nullptr;
  if (name == "linear" && schedule.kind != ScheduleKind::kLinear) {
    betas = Json::array();
    const diffusion::Schedule table(schedule);
    for (int64_t t = 1; t <= table.timesteps(); ++t) betas.push_back(table.beta(t));
  }
  Json json{{"_class_name", ddim ? "DDIMScheduler" : "DDPMScheduler"},
            {"_diffusers_version", kVersion},
            {"beta_end", schedule.beta_end},
            {"beta_schedule", name},
            {"beta_start", schedule.beta_start},
            {"clip_sample", c.clip != sample::Clip::kNone},
            {"clip_sample_range", c.clip_range},
            {"dynamic_thresholding_ratio", 0.995},
            {"num_train_timesteps", schedule.timesteps},
            {"prediction_type", prediction->first},
            {"rescale_betas_zero_snr", false},
            {"sample_max_value", 1.0},
            {"steps_offset", c.steps_offset},
            {"thresholding", false},
            {"timestep_spacing",
             c.spacing == sample::Spacing::kQuadratic ? "leading" : sample::to_string(c.spacing)},
            {"trained_betas", betas}};
  if (ddim) {
    json["set_alpha_to_one"] = c.last_alpha == sample::LastAlpha::kOne;
  } else {
    json["variance_type"] = c.sigma == sample::Sigma::kLarge     ? "fixed_large"
                            : c.sigma == sample::Sigma::kLearned ? "learned_range"
                                                                 : "fixed_small";
  }
  return json.dump(2) + "\n";
}

std::string pipeline_text(const sample::SampleConfig& sample) {
  const bool ddim = sample.method == sample::Method::kDdim;
  const Json json{{"_class_name", ddim ? "DDIMPipeline" : "DDPMPipeline"},
                  {"_diffusers_version", kVersion},
                  {"scheduler", {"diffusers", ddim ? "DDIMScheduler" : "DDPMScheduler"}},
                  {"unet", {"diffusers", "UNet2DModel"}}};
  return json.dump(2) + "\n";
}

std::vector<std::string> lost_settings(const sample::SampleConfig& c) {
  std::vector<std::string> lost;
  if (c.spacing == sample::Spacing::kQuadratic)
    lost.push_back("sample.spacing = quadratic (leading is written)");
  if (c.method == sample::Method::kDdim) {
    if (c.clip == sample::Clip::kRederive)
      lost.push_back(
          "sample.clip = rederive (clip_sample keeps eps; pipelines have "
          "use_clipped_model_output)");
    if (c.sigma == sample::Sigma::kHat) lost.push_back("sample.sigma = hat");
    if (c.eta != 0) lost.push_back(fmt::format("sample.eta = {} (give the pipeline eta)", c.eta));
  }
  return lost;
}

}  // namespace ddpm::exchange
