#include "diffusers_config_paths.h"

#include "ddpm/sample/methods.h"

#include <algorithm>

#include <fmt/format.h>

namespace ddpm::exchange {
namespace {

using diffusion::Prediction;
using diffusion::ScheduleKind;

constexpr const char* kFlowMatch = "FlowMatchEulerDiscreteScheduler";
constexpr const char* kEdmEuler = "EDMEulerScheduler";
constexpr int64_t kUsualSteps = 50;  // num_inference_steps of most pipelines

void read_flow_(JsonReader& json, diffusion::DiffusionConfig& c) {
  c.schedule.kind = ScheduleKind::kFlow;
  c.prediction = Prediction::kFlow;
  json.expect<double>("shift", 1.0);
  for (const char* key : {"use_dynamic_shifting", "invert_sigmas", "use_karras_sigmas",
                          "use_exponential_sigmas", "use_beta_sigmas", "stochastic_sampling"})
    json.expect<bool>(key, false);
  json.expect_null("shift_terminal");
  for (const char* key : {"base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len",
                          "time_shift_type"})  // of dynamic shifting
    json.ignore(key);
}

void read_edm_(JsonReader& json, diffusion::DiffusionConfig& c) {
  c.schedule.kind = ScheduleKind::kEdm;
  c.prediction = Prediction::kEdm;
  c.schedule.sigma_min = json.get<double>("sigma_min", 0.002);
  c.schedule.sigma_max = json.get<double>("sigma_max", 80.0);
  c.data_std = json.get<double>("sigma_data", 0.5);
  if (!(c.schedule.sigma_min > 0)) json.fail("sigma_min", "must be positive");
  if (!(c.schedule.sigma_max > c.schedule.sigma_min))
    json.fail("sigma_max", "must be above sigma_min");
  if (!(c.data_std > 0)) json.fail("sigma_data", "must be positive");
  json.expect<double>("rho", 7.0);
  json.expect<std::string>("sigma_schedule", "karras");
  json.expect<std::string>("prediction_type", "epsilon");
  json.expect<std::string>("final_sigmas_type", "zero");
}

}  // namespace

bool is_path_scheduler(const std::string& class_name) {
  return class_name == kFlowMatch || class_name == kEdmEuler;
}

std::string path_scheduler(const diffusion::DiffusionConfig& diffusion) {
  const ScheduleKind kind = diffusion.schedule.kind;
  if (kind == ScheduleKind::kFlow && diffusion.prediction == Prediction::kFlow) return kFlowMatch;
  const bool rescaled = diffusion.schedule.zero_terminal_snr;
  if (kind == ScheduleKind::kEdm && diffusion.prediction == Prediction::kEdm && !rescaled)
    return kEdmEuler;
  return "";
}

SchedulerSettings read_path_scheduler(JsonReader& json, const std::string& class_name) {
  SchedulerSettings settings;
  diffusion::DiffusionConfig& c = settings.diffusion;
  c.schedule.timesteps = json.get<int64_t>("num_train_timesteps", 1000);
  if (c.schedule.timesteps < 2 || c.schedule.timesteps > diffusion::kMaxTimesteps)
    json.fail("num_train_timesteps", fmt::format("must be 2 to {}", diffusion::kMaxTimesteps));
  class_name == kFlowMatch ? read_flow_(json, c) : read_edm_(json, c);
  settings.sample.method = "euler";
  settings.sample.spacing = sample::Spacing::kLinspace;
  settings.sample.clip = sample::Clip::kNone;
  settings.sample.steps = std::min(kUsualSteps, c.schedule.timesteps);
  return settings;
}

nlohmann::ordered_json path_scheduler_keys(const diffusion::DiffusionConfig& diffusion) {
  const diffusion::ScheduleConfig& schedule = diffusion.schedule;
  if (schedule.kind == ScheduleKind::kFlow)
    return {{"num_train_timesteps", schedule.timesteps}, {"shift", 1.0}};
  return {{"num_train_timesteps", schedule.timesteps},
          {"prediction_type", "epsilon"},
          {"rho", 7.0},
          {"sigma_data", diffusion.data_std},
          {"sigma_max", schedule.sigma_max},
          {"sigma_min", schedule.sigma_min},
          {"sigma_schedule", "karras"},
          {"final_sigmas_type", "zero"}};
}

std::vector<std::string> lost_by_path(const SchedulerSettings& settings) {
  const sample::SampleConfig& c = settings.sample;
  const int64_t timesteps = settings.diffusion.schedule.timesteps;
  const int64_t steps = c.steps == 0 ? timesteps : c.steps;
  std::vector<std::string> lost;
  const bool euler = c.method == "euler" || (c.method == sample::kDdim && c.eta == 0);
  if (!euler) lost.push_back(fmt::format("sample.method = {} (Euler's is written)", c.method));
  if (c.clip != sample::Clip::kNone)
    lost.push_back(fmt::format("sample.clip = {}", config::to_string(c.clip)));
  if (c.spacing != sample::Spacing::kLinspace || !c.steps_at.empty())
    lost.push_back("the choice of timesteps (linspace is written)");
  else if (steps > 1 && (timesteps - 1) % (steps - 1) != 0)
    lost.push_back("the rounding to timesteps (diffusers keeps fractions)");
  lost.push_back(fmt::format("sample.steps = {} (give the pipeline num_inference_steps)", steps));
  if (c.guidance.weight != 1.0)
    lost.push_back(fmt::format("sample.guidance = {} (sample.py has it)", c.guidance.weight));
  return lost;
}

bool path_scales_input(const std::string& class_name) { return class_name == kEdmEuler; }

}  // namespace ddpm::exchange
