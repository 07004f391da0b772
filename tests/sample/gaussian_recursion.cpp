#include "tests/sample/gaussian_recursion.h"

#include <cmath>

#include <torch/types.h>

namespace ddpm::sample {

JumpWeights jump_weights(const diffusion::Schedule& schedule, const SampleConfig& config,
                         PlanStep step) {
  const double at = schedule.alpha_bar(step.t), as = schedule.alpha_bar(step.s);
  const bool ddim = config.method == kDdim;
  const double eta = ddim && config.sigma != Sigma::kHat ? config.eta : 1.0;
  const double beta = 1 - at / as;
  const double small = (1 - as) / (1 - at) * beta;
  const double noise = eta * eta * small;
  const bool full =
      step.s > 0 && (ddim ? config.sigma == Sigma::kHat : config.sigma == Sigma::kLarge);
  const double extra = full ? beta - small : 0.0;
  return {std::sqrt(std::max(1 - as - noise, 0.0)), noise + extra, extra};
}

std::vector<GaussianStep> gaussian_steps(const diffusion::Schedule& schedule,
                                         const SampleConfig& config, double c) {
  std::vector<GaussianStep> steps;
  for (const PlanStep step : timestep_plan(schedule.timesteps(), config.steps, config.spacing)) {
    const double at = schedule.alpha_bar(step.t), as = schedule.alpha_bar(step.s);
    const double a_t = std::sqrt(at), n_t = std::sqrt(1 - at), a_s = std::sqrt(as);
    const double d_t = at * c + 1 - at, d_s = as * c + 1 - as;
    const JumpWeights w = jump_weights(schedule, config, step);
    const double cross = a_s * n_t - w.b * a_t;
    steps.push_back({.gain = (a_s * a_t * c + w.b * n_t) / d_t,
                     .noise = w.noise,
                     .deficit = c * cross * cross / d_t - w.extra,
                     .target = d_s});
  }
  return steps;
}

GaussianOutcome gaussian_outcome(const diffusion::Schedule& schedule, const SampleConfig& config,
                                 double m, double c) {
  const auto plan = timestep_plan(schedule.timesteps(), config.steps, config.spacing);
  const double at = schedule.alpha_bar(plan.front().t);
  const double start = at * c + 1 - at;
  double variance = 1, centred_mean = -std::sqrt(at) * m;
  double bound = std::abs(1 - start) / start;
  for (const GaussianStep& step : gaussian_steps(schedule, config, c)) {
    variance = step.gain * step.gain * variance + step.noise;
    centred_mean *= step.gain;
    bound += std::abs(step.deficit) / step.target;
  }
  return {m + centred_mean, variance, bound, std::abs(m) * std::sqrt(at * c / start)};
}

std::vector<NamedSampler> samplers_with(int64_t steps) {
  SampleConfig base;
  base.steps = steps;
  base.clip = Clip::kNone;  // a Gaussian leaves [-1,1]
  std::vector<NamedSampler> all(6, {"", base});
  const std::string of = " with S = " + std::to_string(steps);
  all[0].name = "Algorithm 2, beta_tilde" + of;
  all[1].name = "Algorithm 2, beta" + of;
  all[1].config.sigma = Sigma::kLarge;
  for (size_t i = 2; i < 6; ++i) {
    all[i].config.method = kDdim;
  }
  all[2].name = "DDIM, eta 0" + of;
  all[3].name = "DDIM, eta 0.5" + of;
  all[3].config.eta = 0.5;
  all[4].name = "DDIM, eta 1" + of;
  all[4].config.eta = 1.0;
  all[5].name = "DDIM, sigma hat" + of;
  all[5].config.sigma = Sigma::kHat;
  return all;
}

}  // namespace ddpm::sample
