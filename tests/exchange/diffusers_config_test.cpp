#include "ddpm/exchange/diffusers_config.h"

#include "tests/exchange/fixture.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace ddpm::exchange {
namespace {

namespace fs = std::filesystem;

// --- importing configs
nlohmann::json unet_json() {
  return nlohmann::json::parse(io::read_text(kGolden / "library/unet/config.json"));
}

TEST(DiffusersConfig, KeysThatAreNotWrittenHaveTheLibrarysDefaults) {
  const nn::UNetConfig whole = parse_unet_config(unet_json().dump(), "c");
  nlohmann::json json = unet_json();
  // What the golden network leaves at the library's defaults.
  for (const char* key :
       {"downsample_padding", "flip_sin_to_cos", "freq_shift", "norm_eps", "attention_head_dim",
        "in_channels", "out_channels", "act_fn", "add_attention", "time_embedding_type",
        "resnet_time_scale_shift", "dropout", "center_input_sample", "num_class_embeds"})
    ASSERT_EQ(json.erase(key), 1u) << key;
  Model a, b;
  a.description.unet = whole;
  b.description.unet = parse_unet_config(json.dump(), "c");
  EXPECT_EQ(nn::to_toml(a.description), nn::to_toml(b.description));
  EXPECT_EQ(whole.head_channels, 8);
  EXPECT_FALSE(whole.same_padding);
  EXPECT_TRUE(whole.sinusoid.cosine_first);
  EXPECT_EQ(whole.sinusoid.freq_shift, 0.0);
  EXPECT_EQ(whole.norm_eps, 1e-5);
  json["attention_head_dim"] = nullptr;
  EXPECT_EQ(parse_unet_config(json.dump(), "c").head_channels, 0) << "null is one head";
}

TEST(DiffusersConfig, WhatCannotBeExpressedIsRefusedByKeyAndValue) {
  const std::vector<std::pair<std::string, nlohmann::json>> values = {
      {"_class_name", "UNet2DConditionModel"},
      {"time_embedding_type", "fourier"},
      {"time_embedding_dim", 7},
      {"center_input_sample", true},
      {"mid_block_scale_factor", 1.4142},
      {"mid_block_type", nullptr},
      {"act_fn", "gelu"},
      {"downsample_padding", 2},
      {"downsample_type", "fir"},
      {"resnet_time_scale_shift", "ada_group"},
      {"class_embed_type", "timestep"},
      {"attn_norm_num_groups", 1},
      {"out_channels", 5},
      {"sample_size", nullptr},
      {"block_out_channels", {4, 6}},
      {"down_block_types", {"SkipDownBlock2D", "AttnDownBlock2D"}},
      {"up_block_types", {"UpBlock2D", "UpBlock2D"}},
      {"something_new", 3},
      {"layers_per_block", "two"},
  };
  for (const auto& [key, value] : values) {
    nlohmann::json json = unet_json();
    json[key] = value;
    const std::string message = message_of([&] { parse_unet_config(json.dump(), "config.json"); });
    EXPECT_NE(message.find(key + " = " + value.dump()), std::string::npos) << message;
  }
  EXPECT_NE(message_of([] { parse_unet_config("[1", "config.json"); }), "(no error)");
}

TEST(DiffusersConfig, SchedulersThatCannotBeExpressedAreRefusedByKeyAndValue) {
  const std::vector<std::pair<std::string, nlohmann::json>> values = {
      {"_class_name", "LMSDiscreteScheduler"},
      {"beta_schedule", "laplace"},
      {"trained_betas", {0.1, 0.2}},
      {"variance_type", "learned"},
      {"prediction_type", "flow"},
      {"timestep_spacing", "karras"},
      {"dynamic_thresholding_ratio", 1.5},
      {"sample_max_value", 0.0},
      {"steps_offset", -1},
      {"num_train_timesteps", 0},
      {"beta_start", 0.0},
      {"beta_end", 1.5},
      {"something_new", true},
      {"clip_sample_range", -1.0},
  };
  for (const auto& [key, value] : values) {
    nlohmann::json json{{"thresholding", true}};
    json[key] = value;
    const std::string message = message_of([&] { parse_scheduler_config(json.dump(), "s.json"); });
    EXPECT_NE(message.find(key + " = " + value.dump()), std::string::npos) << message;
  }
}

TEST(DiffusersConfig, SettingsThatOurSolversLackAreRefusedByKeyAndValue) {
  const std::vector<std::tuple<std::string, std::string, nlohmann::json>> values = {
      {"DPMSolverMultistepScheduler", "algorithm_type", "dpmsolver"},
      {"DPMSolverMultistepScheduler", "solver_type", "heun"},
      {"DPMSolverMultistepScheduler", "solver_order", 4},
      {"DPMSolverMultistepScheduler", "lower_order_final", false},
      {"DPMSolverMultistepScheduler", "euler_at_final", true},
      {"DPMSolverMultistepScheduler", "lambda_min_clipped", -5.1},
      {"DPMSolverMultistepScheduler", "use_flow_sigmas", true},
      {"EulerDiscreteScheduler", "thresholding", true},
      {"DPMSolverMultistepScheduler", "timestep_spacing", "karras"},
      {"UniPCMultistepScheduler", "solver_type", "bh1"},
      {"UniPCMultistepScheduler", "predict_x0", false},
      {"UniPCMultistepScheduler", "disable_corrector", {0}},
      {"UniPCMultistepScheduler", "final_sigmas_type", "other"},
      {"DEISMultistepScheduler", "use_beta_sigmas", true},
      {"EulerDiscreteScheduler", "interpolation_type", "log_linear"},
      {"EulerDiscreteScheduler", "sigma_min", 0.1},
      {"HeunDiscreteScheduler", "prediction_type", "sample"},
      {"PNDMScheduler", "skip_prk_steps", false},
      {"PNDMScheduler", "prediction_type", "v_prediction"},
  };
  for (const auto& [name, key, value] : values) {
    nlohmann::json json{{"_class_name", name}, {"skip_prk_steps", true}};
    json[key] = value;
    const std::string message = message_of([&] { parse_scheduler_config(json.dump(), "s.json"); });
    EXPECT_NE(message.find(key + " = " + value.dump()), std::string::npos) << name << message;
  }
}

// Python's json module writes these.
TEST(DiffusersConfig, InfinityAndNaNAreNumbers) {
  const auto parse = [](const std::string& text) { parse_scheduler_config(text, "s.json"); };
  // As DPMSolver's folders have it.
  EXPECT_NO_THROW(
      parse(R"({"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity})"));
  // Left by a change of schedulers; DDIMScheduler passes over it.
  EXPECT_NO_THROW(parse(R"({"_class_name": "DDIMScheduler", "lambda_min_clipped": -Infinity,
                            "solver_order": 2, "use_karras_sigmas": true})"));
  EXPECT_NO_THROW(parse(R"({"_note": "NaN, \"Infinity and -Infinity", "_x": [NaN, Infinity]})"));
  for (const auto& [value, key] : {std::pair("NaN", "beta_start"),
                                   {"Infinity", "clip_sample_range"},
                                   {"-Infinity", "num_train_timesteps"},
                                   {"2.5", "num_train_timesteps"}}) {
    const std::string message =
        message_of([&] { parse(fmt::format("{{\"{}\": {}}}", key, value)); });
    EXPECT_NE(message.find(fmt::format("{} = {} ", key, value)), std::string::npos) << message;
  }
  EXPECT_NE(message_of([&] { parse("{\"beta_start\": Infinit}"); }).find("no JSON object"),
            std::string::npos);
  EXPECT_NE(message_of([&] { parse("<!DOCTYPE html>"); }).find("web page"), std::string::npos);
}

TEST(DiffusersConfig, SchedulersComeBack) {
  for (const auto kind : {diffusion::ScheduleKind::kLinear, diffusion::ScheduleKind::kCosine,
                          diffusion::ScheduleKind::kQuadratic, diffusion::ScheduleKind::kSigmoid,
                          diffusion::ScheduleKind::kConstant}) {
    SchedulerSettings settings;
    settings.diffusion.schedule = {.kind = kind, .timesteps = 50, .beta_start = 0.001};
    settings.sample.clip = sample::Clip::kNone;
    settings.sample.sigma = sample::Sigma::kLarge;
    settings.sample.stepping = sample::Stepping::kDiffusers;
    const SchedulerSettings back =
        parse_scheduler_config(scheduler_config_text(settings), "s.json");
    const diffusion::Schedule ours(settings.diffusion.schedule), theirs(back.diffusion.schedule);
    for (int64_t t = 1; t <= 50; ++t) EXPECT_EQ(ours.beta(t), theirs.beta(t));
    EXPECT_EQ(config::to_toml(back.sample, "sample"), config::to_toml(settings.sample, "sample"));
  }
}

// Each class as it can: with its own switch, else as numbers.
TEST(DiffusersConfig, ZeroTerminalSnrComesBack) {
  for (const auto kind : {diffusion::ScheduleKind::kLinear, diffusion::ScheduleKind::kCosine,
                          diffusion::ScheduleKind::kConstant}) {
    for (const char* method : {"ddpm", "ddim", "dpmpp_2m", "unipc", "deis", "euler", "heun"}) {
      SchedulerSettings settings;
      settings.diffusion.prediction = diffusion::Prediction::kV;
      settings.diffusion.schedule = {.kind = kind, .timesteps = 50, .zero_terminal_snr = true};
      settings.sample.method = method;
      const std::string text = scheduler_config_text(settings);
      const SchedulerSettings back = parse_scheduler_config(text, "s.json");
      const diffusion::Schedule ours(settings.diffusion.schedule), theirs(back.diffusion.schedule);
      for (int64_t t = 1; t <= 50; ++t)
        EXPECT_EQ(ours.beta(t), theirs.beta(t)) << method << ", t = " << t;
      const bool own = nlohmann::json::parse(text).value("rescale_betas_zero_snr", false);
      EXPECT_EQ(own, method != std::string("deis") && method != std::string("heun")) << text;
    }
  }
}

TEST(DiffusersConfig, DynamicThresholdingComesBack) {
  for (const char* method : {"ddpm", "ddim", "dpmpp_2m", "unipc", "deis"}) {
    SchedulerSettings settings;
    settings.sample.method = method;
    settings.sample.dynamic_threshold = 0.9;
    settings.sample.dynamic_threshold_max = 3.0;
    settings.sample.stepping = sample::Stepping::kDiffusers;
    if (method == std::string("ddim")) settings.sample.clip = sample::Clip::kClip;
    const SchedulerSettings back =
        parse_scheduler_config(scheduler_config_text(settings), "s.json");
    EXPECT_EQ(back.sample.dynamic_threshold, 0.9) << method;
    EXPECT_EQ(back.sample.dynamic_threshold_max, 3.0) << method;
    EXPECT_EQ(back.sample.clip, settings.sample.clip) << method;
  }
}

}  // namespace
}  // namespace ddpm::exchange
