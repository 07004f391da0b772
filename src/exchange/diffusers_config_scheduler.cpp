// scheduler/scheduler_config.json and model_index.json.
#include "ddpm/exchange/diffusers_config.h"
#include "ddpm/io/json_text.h"
#include "diffusers_config_paths.h"
#include "diffusers_config_solvers.h"
#include "diffusers_version.h"
#include "json_reader.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

namespace ddpm::exchange {
namespace {

using diffusion::kMaxTimesteps;
using diffusion::Prediction;
using diffusion::ScheduleKind;
using Json = nlohmann::ordered_json;
using Names = std::vector<std::string>;

constexpr double kCosineOffset = 0.008;  // the only offset of squaredcos_cap_v2
constexpr int64_t kDdimSteps = 50;       // DDIMPipeline's default
constexpr int64_t kDdpmSteps = 1000;     // DDPMPipeline's default

// Keys of DPMSolver, UniPC, Euler and similar schedulers. They remain in a folder if its scheduler
// was changed. DDPMScheduler and DDIMScheduler ignore them.
constexpr std::array<const char*, 28> kOfOtherSchedulers = {"algorithm_type",
                                                            "corrector_order",
                                                            "disable_corrector",
                                                            "euler_at_final",
                                                            "final_sigmas_type",
                                                            "flow_shift",
                                                            "interpolation_type",
                                                            "lambda_min_clipped",
                                                            "lower_order_final",
                                                            "predict_x0",
                                                            "predictor_order",
                                                            "shift_terminal",
                                                            "sigma_max",
                                                            "sigma_min",
                                                            "skip_prk_steps",
                                                            "snr_shift_scale",
                                                            "solver_order",
                                                            "solver_p",
                                                            "solver_type",
                                                            "tau_func",
                                                            "time_shift_type",
                                                            "timestep_type",
                                                            "use_beta_sigmas",
                                                            "use_dynamic_shifting",
                                                            "use_exponential_sigmas",
                                                            "use_flow_sigmas",
                                                            "use_karras_sigmas",
                                                            "use_lu_lambdas"};

constexpr std::array<std::pair<const char*, Prediction>, 3> kPredictions = {
    {{"epsilon", Prediction::kEpsilon},
     {"sample", Prediction::kX0},
     {"v_prediction", Prediction::kV}}};

Prediction read_prediction(JsonReader& json) {
  // Older configs have this flag instead of prediction_type.
  const bool epsilon = json.get<bool>("predict_epsilon", true);
  const auto name = json.get<std::string>("prediction_type", epsilon ? "epsilon" : "sample");
  for (const auto& [theirs, ours] : kPredictions) {
    if (name == theirs) return ours;
  }
  json.fail("prediction_type", "cannot be expressed; epsilon, sample and v_prediction can");
}

diffusion::ScheduleConfig read_schedule(JsonReader& json, const std::string& class_name) {
  diffusion::ScheduleConfig c;
  const BetaRange usual = default_betas(class_name);
  c.timesteps = json.get<int64_t>("num_train_timesteps", 1000);
  c.beta_start = json.get<double>("beta_start", usual.start);
  c.beta_end = json.get<double>("beta_end", usual.end);
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
  c.zero_terminal_snr = json.get<bool>("rescale_betas_zero_snr", false);
  if (c.zero_terminal_snr && c.timesteps < 2)
    json.fail("rescale_betas_zero_snr", "needs num_train_timesteps of 2 or more");
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

bool known_to_diffusers(sample::Spacing spacing) {
  return spacing == sample::Spacing::kLeading || spacing == sample::Spacing::kTrailing ||
         spacing == sample::Spacing::kLinspace;
}

sample::SampleConfig read_sampling(JsonReader& json, bool ddim, int64_t timesteps) {
  sample::SampleConfig c;
  c.method = ddim ? sample::kDdim : sample::kDdpm;
  c.steps = ddim ? std::min(kDdimSteps, timesteps) : timesteps > kDdpmSteps ? kDdpmSteps : 0;
  c.stepping = sample::Stepping::kDiffusers;
  const sample::Sigma sigma = read_variance(json);
  if (!ddim) c.sigma = sigma;
  c.clip = json.get<bool>("clip_sample", true) ? sample::Clip::kClip : sample::Clip::kNone;
  c.clip_range = json.get<double>("clip_sample_range", 1.0);
  if (!(c.clip_range > 0)) json.fail("clip_sample_range", "must be positive");
  const auto spacing = json.get<std::string>("timestep_spacing", "leading");
  const auto known = config::value_named<sample::Spacing>(spacing);
  if (!known || !known_to_diffusers(*known))
    json.fail("timestep_spacing", "cannot be expressed; leading, trailing and linspace can");
  c.spacing = *known;
  c.steps_offset = json.get<int64_t>("steps_offset", 0);
  if (c.steps_offset < 0) json.fail("steps_offset", "must not be negative");
  const bool to_one = json.get<bool>("set_alpha_to_one", true);
  if (ddim && !to_one) c.last_alpha = sample::LastAlpha::kFirst;
  return c;
}

// Dynamic thresholding, which replaces clip_sample.
void read_threshold_(JsonReader& json, const std::string& class_name, sample::SampleConfig& c) {
  const auto quantile = json.get<double>("dynamic_thresholding_ratio", 0.995);
  const auto max = json.get<double>("sample_max_value", 1.0);
  if (!can_threshold(class_name)) return json.expect<bool>("thresholding", false);
  if (!json.get<bool>("thresholding", false)) return;
  if (!(quantile > 0 && quantile <= 1))
    json.fail("dynamic_thresholding_ratio", "must be above 0 and at most 1");
  if (!(max > 0)) json.fail("sample_max_value", "must be positive");
  // DDIMScheduler keeps eps_hat, as it does with clip_sample; the solvers derive theirs from x0_hat.
  c.clip = class_name == "DDIMScheduler" ? sample::Clip::kClip : sample::Clip::kRederive;
  c.clip_range = 1.0;
  c.dynamic_threshold = quantile;
  c.dynamic_threshold_max = max;
}

// sample_max_value, the largest bound of dynamic thresholding. The schedulers need a number.
double max_value(const sample::SampleConfig& c) {
  constexpr double kNoLimit = 1e6;
  if (c.dynamic_threshold == 0) return 1.0;
  return c.dynamic_threshold_max > 0 ? c.dynamic_threshold_max : kNoLimit;
}

}  // namespace

SchedulerSettings parse_scheduler_config(std::string_view text, const std::filesystem::path& path) {
  JsonReader json(text, path);
  const auto name = json.get<std::string>("_class_name", "DDPMScheduler");
  if (is_path_scheduler(name)) {
    SchedulerSettings settings = read_path_scheduler(json, name);
    json.check_all_read();
    return settings;
  }
  const bool solver = is_solver_scheduler(name);
  if (!solver && name != "DDPMScheduler" && name != "DDIMScheduler") {
    json.fail("_class_name",
              "cannot be expressed; DDPMScheduler, DDIMScheduler and eight others can, and each "
              "may stand "
              "for it where beta_schedule and prediction_type are the same");
  }
  SchedulerSettings settings;
  settings.diffusion.schedule = read_schedule(json, name);
  settings.diffusion.prediction = read_prediction(json);
  if (!predicts(name, settings.diffusion.prediction))
    json.fail("prediction_type", fmt::format("with {} cannot be expressed", name));
  const int64_t timesteps = settings.diffusion.schedule.timesteps;
  settings.sample = solver ? read_solver(json, name, timesteps)
                           : read_sampling(json, name == "DDIMScheduler", timesteps);
  if (solver) {
    for (const char* key :
         {"clip_sample", "clip_sample_range", "set_alpha_to_one", "variance_type"})
      json.ignore(key);
  }
  read_threshold_(json, name, settings.sample);
  json.ignore("tensor_format");
  for (const char* key : kOfOtherSchedulers) json.ignore(key);
  json.check_all_read();
  return settings;
}

std::string scheduler_config_text(const SchedulerSettings& settings) {
  if (const std::string name = path_scheduler(settings.diffusion); !name.empty()) {
    Json json{{"_class_name", name}, {"_diffusers_version", kDiffusersVersion}};
    json.update(path_scheduler_keys(settings.diffusion));
    return io::json_text(json, 2) + "\n";
  }
  const diffusion::ScheduleConfig& schedule = settings.diffusion.schedule;
  const sample::SampleConfig& c = settings.sample;
  const auto prediction =
      std::find_if(kPredictions.begin(), kPredictions.end(),
                   [&](const auto& pair) { return pair.second == settings.diffusion.prediction; });
  if (prediction == kPredictions.end()) {
    throw UsageError(fmt::format(
        "diffusion.prediction = {} with schedule = {} has no counterpart in diffusers; use --to "
        "safetensors or torch",
        config::to_string(settings.diffusion.prediction), config::to_string(schedule.kind)));
  }
  const std::string class_name = scheduler_class(c, settings.diffusion);
  const bool capped_cosine =
      schedule.kind == ScheduleKind::kCosine && schedule.cosine_s == kCosineOffset;
  // Other schedules are written as numbers: DDIMScheduler has fewer names than DDPMScheduler.
  std::string name = "linear";
  if (schedule.kind == ScheduleKind::kQuadratic) name = "scaled_linear";
  if (capped_cosine) name = "squaredcos_cap_v2";
  Json betas = nullptr;
  const bool rescales = schedule.zero_terminal_snr && can_rescale(class_name);
  const bool as_numbers = schedule.zero_terminal_snr && !rescales;
  if (as_numbers || (name == "linear" && schedule.kind != ScheduleKind::kLinear)) {
    betas = Json::array();
    diffusion::ScheduleConfig written = schedule;
    if (rescales) written.zero_terminal_snr = false;  // the scheduler rescales the betas itself
    const diffusion::Schedule table(written);
    for (int64_t t = 1; t <= table.timesteps(); ++t) betas.push_back(table.beta(t));
  }
  const sample::Spacing spacing = written_spacing(class_name, c.spacing);
  const bool thresholds = c.dynamic_threshold > 0;
  Json json{{"_class_name", class_name},
            {"_diffusers_version", kDiffusersVersion},
            {"beta_end", schedule.beta_end},
            {"beta_schedule", name},
            {"beta_start", schedule.beta_start},
            {"clip_sample", c.clip != sample::Clip::kNone},
            {"clip_sample_range", c.clip_range},
            {"dynamic_thresholding_ratio", thresholds ? c.dynamic_threshold : 0.995},
            {"num_train_timesteps", schedule.timesteps},
            {"prediction_type", prediction->first},
            {"rescale_betas_zero_snr", rescales},
            {"sample_max_value", max_value(c)},
            {"steps_offset", c.steps_offset},
            {"thresholding", thresholds},
            {"timestep_spacing", config::to_string(spacing)},
            {"trained_betas", betas}};
  if (is_solver_scheduler(class_name)) {
    set_solver_keys_(json, c);
  } else if (class_name == "DDIMScheduler") {
    json["set_alpha_to_one"] = c.last_alpha == sample::LastAlpha::kOne;
  } else {
    json["variance_type"] = c.sigma == sample::Sigma::kLarge     ? "fixed_large"
                            : c.sigma == sample::Sigma::kLearned ? "learned_range"
                                                                 : "fixed_small";
  }
  return io::json_text(json, 2) + "\n";
}

std::string pipeline_text(const SchedulerSettings& settings) {
  const std::string name = scheduler_class(settings.sample, settings.diffusion);
  const Json json{{"_class_name", name == "DDIMScheduler" ? "DDIMPipeline" : "DDPMPipeline"},
                  {"_diffusers_version", kDiffusersVersion},
                  {"scheduler", {"diffusers", name}},
                  {"unet", {"diffusers", "UNet2DModel"}}};
  return io::json_text(json, 2) + "\n";
}

std::vector<std::string> lost_settings(const SchedulerSettings& settings) {
  const sample::SampleConfig& c = settings.sample;
  const diffusion::Schedule schedule(settings.diffusion.schedule);
  if (!path_scheduler(settings.diffusion).empty()) return lost_by_path(settings);
  const std::string name = scheduler_class(c, settings.diffusion);
  std::vector<std::string> lost;
  if (c.steps > schedule.timesteps()) return lost;  // sampling throws an error
  sample::SampleConfig theirs = c;
  theirs.spacing = written_spacing(name, c.spacing);
  theirs.stepping = sample::Stepping::kDiffusers;
  if (is_solver_scheduler(name)) {
    lost = lost_by_solver(c);
  } else if (c.method != sample::kDdpm && c.method != sample::kDdim) {
    lost.push_back(fmt::format("sample.method = {} ({} is written)", c.method, name));
  }
  if (c.dynamic_threshold > 0 && !can_threshold(name))
    lost.push_back(fmt::format("sample.dynamic_threshold = {}", c.dynamic_threshold));
  if (c.dynamic_threshold > 0 && c.clip_range != 1)
    lost.push_back(fmt::format("sample.clip_range = {} (1 is written)", c.clip_range));
  if (!c.steps_at.empty()) lost.push_back("sample.steps_at (give its scheduler these timesteps)");
  const bool optimal = c.spacing == sample::Spacing::kOptimal;  // its steps need measurements
  const auto plan = sample::timestep_plan(schedule, optimal ? theirs : c);
  if (theirs.spacing != c.spacing) {
    lost.push_back(fmt::format("sample.spacing = {} ({} is written)", config::to_string(c.spacing),
                               config::to_string(theirs.spacing)));
  } else if (plan != sample::timestep_plan(schedule, theirs)) {
    lost.push_back(
        fmt::format("sample.stepping = own: of {} steps, diffusers takes others", plan.size()));
  }
  const int64_t usual = name == "DDIMScheduler" ? kDdimSteps : kDdpmSteps;
  if (const auto steps = static_cast<int64_t>(plan.size()); steps != usual)
    lost.push_back(fmt::format(
        "sample.steps = {} (give the pipeline num_inference_steps = {}; its default is {})", steps,
        steps, usual));
  const bool ends_above = plan.back().t > 1 && c.stepping == sample::Stepping::kOwn;
  if (c.method == sample::kDdpm && ends_above && c.sigma != sample::Sigma::kSmall)
    lost.push_back("a last step without noise (diffusers adds some, as it begins above t = 1)");
  if (c.method == sample::kDdim) {
    if (c.clip == sample::Clip::kRederive)
      lost.push_back(
          "sample.clip = rederive (clip_sample keeps eps; pipelines have "
          "use_clipped_model_output)");
    if (c.sigma == sample::Sigma::kHat) lost.push_back("sample.sigma = hat");
    if (c.eta != 0) lost.push_back(fmt::format("sample.eta = {} (give the pipeline eta)", c.eta));
  }
  if (c.guidance.weight != 1.0) {
    diffusion::Guidance weight_alone;
    weight_alone.weight = c.guidance.weight;
    lost.push_back(fmt::format("sample.guidance = {} (sample.py has it{})", c.guidance.weight,
                               c.guidance == weight_alone ? "" : ", but not its other settings"));
  }
  return lost;
}

}  // namespace ddpm::exchange
