#include "diffusers_config_solvers.h"

#include "ddpm/sample/methods.h"
#include "diffusers_config_paths.h"

#include <algorithm>
#include <array>
#include <limits>

#include <fmt/format.h>

namespace ddpm::exchange {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kDpm = "DPMSolverMultistepScheduler";
constexpr const char* kUniPc = "UniPCMultistepScheduler";
constexpr const char* kDeis = "DEISMultistepScheduler";
constexpr const char* kEuler = "EulerDiscreteScheduler";
constexpr const char* kHeun = "HeunDiscreteScheduler";
constexpr const char* kPndm = "PNDMScheduler";
constexpr std::array kClasses = {kDpm, kUniPc, kDeis, kEuler, kHeun, kPndm};

// num_inference_steps of most pipelines.
constexpr int64_t kInferenceSteps = 50;

bool is_multistep(const std::string& name) {
  return name == kDpm || name == kUniPc || name == kDeis;
}

// The keys that choose sigmas directly; the rounded ones become the timesteps.
sample::Spacing read_spacing(JsonReader& json, const std::string& name) {
  const auto spacing =
      json.get<std::string>("timestep_spacing", name == kPndm ? "leading" : "linspace");
  if (spacing != "leading" && spacing != "trailing" && spacing != "linspace")
    json.fail("timestep_spacing", "cannot be expressed; leading, trailing and linspace can");
  if (name == kPndm && spacing != "leading")
    json.fail("timestep_spacing", "with PNDMScheduler cannot be expressed; leading can");
  const auto listed = config::value_named<sample::Spacing>(spacing).value();
  if (name == kPndm) return listed;
  json.expect<bool>("use_beta_sigmas", false);
  const bool karras = json.get<bool>("use_karras_sigmas", false);
  const bool exponential = json.get<bool>("use_exponential_sigmas", false);
  const bool lu = name == kDpm && json.get<bool>("use_lu_lambdas", false);
  if (!karras && !exponential && !lu) return listed;
  // The sigmas of these two lie between those of timestep_spacing.
  if ((name == kEuler || name == kHeun) && listed != sample::Spacing::kLinspace)
    json.fail("timestep_spacing", "with sigmas of their own cannot be expressed; linspace can");
  return karras ? sample::Spacing::kKarras : sample::Spacing::kLogSnr;
}

// final_sigmas_type, or what a class without that key does.
sample::LastAlpha read_end(JsonReader& json, const std::string& name) {
  if (name == kHeun) return sample::LastAlpha::kOne;
  if (name == kDeis) return sample::LastAlpha::kFirst;
  if (name == kPndm)
    return json.get<bool>("set_alpha_to_one", false) ? sample::LastAlpha::kOne
                                                     : sample::LastAlpha::kFirst;
  const auto type = json.get<std::string>("final_sigmas_type", "zero");
  if (type == "zero") return sample::LastAlpha::kOne;
  if (type == "sigma_min") return sample::LastAlpha::kFirst;
  json.fail("final_sigmas_type", "cannot be expressed; zero and sigma_min can");
}

int64_t read_order(JsonReader& json) {
  const auto order = json.get<int64_t>("solver_order", 2);
  if (order < 1 || order > 3) json.fail("solver_order", "must be 1 to 3");
  return order;
}

void expect_full_range(JsonReader& json) {
  if (json.has("lambda_min_clipped") &&
      json.raw("lambda_min_clipped") != -std::numeric_limits<double>::infinity())
    json.fail("lambda_min_clipped", "cannot be expressed; only -Infinity can");
}

// DPM-Solver++ has its order in the name of the method; that of order 1 is that of DEIS.
void read_dpm_(JsonReader& json, sample::SampleConfig& c) {
  const auto algorithm = json.get<std::string>("algorithm_type", "dpmsolver++");
  const bool sde = algorithm == "sde-dpmsolver++";
  if (!sde && algorithm != "dpmsolver++" && algorithm != "deis")
    json.fail("algorithm_type", "cannot be expressed; dpmsolver++ and sde-dpmsolver++ can");
  const auto type = json.get<std::string>("solver_type", "midpoint");
  if (type == "heun") json.fail("solver_type", "cannot be expressed; midpoint can");
  json.expect<bool>("lower_order_final", true);
  json.expect<bool>("euler_at_final", false);
  expect_full_range(json);
  const int64_t order = read_order(json);
  if (sde && order != 2)
    json.fail("solver_order",
              "with sde-dpmsolver++ cannot be expressed; 2 can (diffusers' weights of order 3 are "
              "not those of the method)");
  c.method = order == 1 ? "deis" : fmt::format("dpmpp_{}m{}", order, sde ? "_sde" : "");
  if (order == 1) c.order = 1;
}

void read_unipc_(JsonReader& json, sample::SampleConfig& c) {
  c.method = "unipc";
  c.order = read_order(json);
  if (json.get<std::string>("solver_type", "bh2") == "bh1")
    json.fail("solver_type", "cannot be expressed; bh2 can");
  json.expect<bool>("lower_order_final", true);
  json.expect<bool>("predict_x0", true);
  json.expect<std::vector<int64_t>>("disable_corrector", {});
  json.expect_null("solver_p");
}

void read_deis_(JsonReader& json, sample::SampleConfig& c) {
  c.method = "deis";
  c.order = read_order(json);
  json.expect<bool>("lower_order_final", true);
}

void read_euler_(JsonReader& json, sample::SampleConfig& c) {
  c.method = "euler";
  json.expect<std::string>("interpolation_type", "linear");
  json.expect<std::string>("timestep_type", "discrete");
}

void read_heun_(JsonReader& json, sample::SampleConfig& c) {
  c.method = "heun";
  // The derivative is that of the clipped x0_hat.
  if (json.get<bool>("clip_sample", false)) c.clip = sample::Clip::kRederive;
  c.clip_range = json.get<double>("clip_sample_range", 1.0);
  if (!(c.clip_range > 0)) json.fail("clip_sample_range", "must be positive");
}

void read_pndm_(JsonReader& json, sample::SampleConfig& c) {
  c.method = "pndm";
  if (!json.get<bool>("skip_prk_steps", false))
    json.fail("skip_prk_steps", "cannot be expressed; true can (without Runge-Kutta steps)");
}

// The network calls of so many inference steps.
int64_t calls_of(const std::string& name, int64_t inference_steps) {
  if (name == kHeun) return 2 * inference_steps - 1;
  if (name == kPndm) return inference_steps + 1;
  return inference_steps;
}

std::string class_of_method(const sample::SampleConfig& c) {
  if (c.method == sample::kDdpm) return "DDPMScheduler";
  if (c.method.starts_with("dpmpp_")) return kDpm;
  if (c.method == "unipc") return kUniPc;
  if (c.method == "deis") return kDeis;
  if (c.method == "euler") return kEuler;
  if (c.method == "heun") return kHeun;
  if (c.method == "pndm") return kPndm;
  return "DDIMScheduler";
}

}  // namespace

bool is_solver_scheduler(const std::string& class_name) {
  return std::find(kClasses.begin(), kClasses.end(), class_name) != kClasses.end();
}

BetaRange default_betas(const std::string& class_name) {
  return class_name == kHeun ? BetaRange{0.00085, 0.012} : BetaRange{};
}

sample::SampleConfig read_solver(JsonReader& json, const std::string& class_name,
                                 int64_t timesteps) {
  sample::SampleConfig c;
  c.stepping = sample::Stepping::kDiffusers;
  c.clip = sample::Clip::kNone;
  if (class_name == kDpm) read_dpm_(json, c);
  if (class_name == kUniPc) read_unipc_(json, c);
  if (class_name == kDeis) read_deis_(json, c);
  if (class_name == kEuler) read_euler_(json, c);
  if (class_name == kHeun) read_heun_(json, c);
  if (class_name == kPndm) read_pndm_(json, c);
  c.spacing = read_spacing(json, class_name);
  c.last_alpha = read_end(json, class_name);
  c.steps_offset = json.get<int64_t>("steps_offset", 0);
  if (c.steps_offset < 0) json.fail("steps_offset", "must not be negative");
  json.expect<bool>("use_flow_sigmas", false);
  for (const char* key : {"sigma_min", "sigma_max", "shift_terminal"}) json.expect_null(key);
  c.steps = std::min(calls_of(class_name, kInferenceSteps), timesteps);
  return c;
}

bool can_threshold(const std::string& class_name) {
  return is_multistep(class_name) || !is_solver_scheduler(class_name);
}

bool can_rescale(const std::string& class_name) {
  return class_name != kDeis && class_name != kHeun && class_name != kPndm;
}

bool predicts(const std::string& class_name, diffusion::Prediction prediction) {
  if (class_name == kPndm) return prediction == diffusion::Prediction::kEpsilon;
  return class_name != kHeun || prediction != diffusion::Prediction::kX0;
}

std::string scheduler_class(const sample::SampleConfig& c,
                            const diffusion::DiffusionConfig& diffusion) {
  if (const std::string path = path_scheduler(diffusion); !path.empty()) return path;
  const std::string name = class_of_method(c);
  return predicts(name, diffusion.prediction) ? name : "DDIMScheduler";
}

namespace {

// The order of the solver, which is part of DPM-Solver++'s names.
int64_t solver_order(const sample::SampleConfig& c) {
  if (c.method.starts_with("dpmpp_")) return c.method == "dpmpp_3m" ? 3 : 2;
  return sample::order_of(c);
}

}  // namespace

void set_solver_keys_(Json& json, const sample::SampleConfig& c) {
  const std::string name = class_of_method(c);
  const bool karras = c.spacing == sample::Spacing::kKarras;
  const bool log_snr = c.spacing == sample::Spacing::kLogSnr;
  for (const char* key : {"clip_sample", "clip_sample_range"}) json.erase(key);
  if (!can_rescale(name)) json.erase("rescale_betas_zero_snr");
  if (!can_threshold(name))
    for (const char* key : {"dynamic_thresholding_ratio", "sample_max_value", "thresholding"})
      json.erase(key);
  if (is_multistep(name)) {
    json["solver_order"] = solver_order(c);
    json["lower_order_final"] = true;
  }
  if (name == kDpm) {
    json["algorithm_type"] = c.method.ends_with("_sde") ? "sde-dpmsolver++" : "dpmsolver++";
    json["solver_type"] = "midpoint";
  }
  if (name == kUniPc) json["solver_type"] = "bh2";
  if (name == kHeun) {
    json["clip_sample"] = c.clip != sample::Clip::kNone;
    json["clip_sample_range"] = c.clip_range;
  }
  const bool to_one = c.last_alpha == sample::LastAlpha::kOne;
  if (name == kPndm) {
    json["skip_prk_steps"] = true;
    json["set_alpha_to_one"] = to_one;
    return;
  }
  if (karras || log_snr) json["timestep_spacing"] = "linspace";
  json["use_karras_sigmas"] = karras;
  json["use_exponential_sigmas"] = log_snr;
  if (name == kDpm || name == kUniPc || name == kEuler)
    json["final_sigmas_type"] = to_one ? "zero" : "sigma_min";
}

std::vector<std::string> lost_by_solver(const sample::SampleConfig& c) {
  std::vector<std::string> lost;
  const std::string name = class_of_method(c);
  if (c.method == "dpmpp_3m_sde")
    lost.push_back("sample.method = dpmpp_3m_sde (dpmpp_2m_sde is written)");
  if (c.method == "dpmpp_3m" && c.stepping == sample::Stepping::kOwn)
    lost.push_back("the weights of order 3 (diffusers halves one)");
  if (name == kDeis && c.last_alpha == sample::LastAlpha::kOne)
    lost.push_back("the end at the finished image (DEISMultistepScheduler ends at t = 1)");
  const bool kept =
      name == kHeun ? c.dynamic_threshold == 0 : c.dynamic_threshold > 0 && can_threshold(name);
  if (c.clip != sample::Clip::kNone && !(kept && c.clip == sample::Clip::kRederive))
    lost.push_back(fmt::format("sample.clip = {}", config::to_string(c.clip)));
  if (name != kPndm &&
      (c.spacing == sample::Spacing::kKarras || c.spacing == sample::Spacing::kLogSnr))
    lost.push_back("the rounding of noise levels to timesteps (diffusers keeps fractions)");
  return lost;
}

sample::Spacing written_spacing(const std::string& class_name, sample::Spacing spacing) {
  const bool by_noise = spacing == sample::Spacing::kKarras || spacing == sample::Spacing::kLogSnr;
  if (class_name == kPndm) return sample::Spacing::kLeading;
  if (by_noise && is_solver_scheduler(class_name)) return spacing;
  if (spacing == sample::Spacing::kOptimal || spacing == sample::Spacing::kPower)
    return sample::Spacing::kTrailing;
  if (spacing == sample::Spacing::kQuadratic || by_noise) return sample::Spacing::kLeading;
  // OpenAI's respacing differs from linspace only by rounding.
  return spacing == sample::Spacing::kOpenai ? sample::Spacing::kLinspace : spacing;
}

std::string solver_obstacle(const std::string& class_name) {
  if (class_name == kDpm) return "";
  if (!is_solver_scheduler(class_name) && !path_scales_input(class_name)) return "";
  return fmt::format("DDPMPipeline does not call {} as it must be called", class_name);
}

bool scales_input(const std::string& class_name) {
  return class_name == kEuler || class_name == kHeun || path_scales_input(class_name);
}

}  // namespace ddpm::exchange
