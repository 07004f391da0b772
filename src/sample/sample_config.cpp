#include "ddpm/sample/sample_config.h"

#include "ddpm/sample/methods.h"
#include "diffusers_plan.h"
#include "noise_spacing.h"
#include "optimal_steps.h"

#include <algorithm>
#include <functional>

#include <fmt/format.h>

namespace ddpm::sample {

namespace {

// With spacing power, a fit of method bespoke chooses the timesteps too.
bool has_fitted_plan(const SampleConfig& config, int64_t steps) {
  return config.method == "bespoke" && config.spacing == Spacing::kPower &&
         std::ssize(config.bespoke) == steps;
}

std::vector<PlanStep> fitted_plan(const SampleConfig& config) {
  std::vector<PlanStep> plan;
  for (const BespokeStep& step : config.bespoke) plan.push_back({step.t, step.s});
  return plan;
}

}  // namespace

std::vector<PlanStep> timestep_plan(const diffusion::Schedule& schedule,
                                    const SampleConfig& config) {
  if (!config.steps_at.empty()) return jumps_of({config.steps_at.rbegin(), config.steps_at.rend()});
  const int64_t timesteps = schedule.timesteps();
  const int64_t calls = calls_of(config, schedule);
  const int64_t steps = method_named(config.method).jumps(calls, schedule);
  if (has_fitted_plan(config, steps)) return fitted_plan(config);
  if (config.spacing == Spacing::kLogSnr || config.spacing == Spacing::kKarras)
    return jumps_of(timesteps_by_noise(schedule, steps, config.spacing));
  if (config.spacing == Spacing::kOptimal)
    return jumps_of(optimal_timesteps(schedule, config.posterior_variance, steps));
  const bool known = config.spacing != Spacing::kQuadratic && config.spacing != Spacing::kOpenai &&
                     config.spacing != Spacing::kPower;
  const bool theirs = known && config.stepping == Stepping::kDiffusers;
  std::vector<PlanStep> plan = theirs
                                   ? diffusers_plan(timesteps, steps, config.spacing,
                                                    config.steps_offset, layout_of(config.method))
                                   : timestep_plan(timesteps, steps, config.spacing);
  if (!theirs && config.spacing == Spacing::kLeading && config.steps_offset > 0) {
    for (int64_t k = 0; k < steps; ++k)  // the k-th t can be no more than T - k
      plan[k].t = std::min(plan[k].t + config.steps_offset, timesteps - k);
    for (int64_t k = 0; k + 1 < steps; ++k) plan[k].s = plan[k + 1].t;
  }
  if (config.last_alpha == LastAlpha::kFirst && plan.back().s == 0) plan.back().s = 1;
  return plan;
}

bool needs_posterior_variance(const SampleConfig& config) {
  return config.sigma == Sigma::kAnalytic || config.spacing == Spacing::kOptimal;
}

ClipBound clip_bound(const SampleConfig& config) {
  return {config.clip_range, config.dynamic_threshold, config.dynamic_threshold_max};
}

SampleConfig with_ddim(SampleConfig config, int64_t steps) {
  config.method = kDdim;
  config.eta = 0.0;
  config.sigma = Sigma::kSmall;
  config.order = 0;
  config.steps_at.clear();
  if (config.spacing == Spacing::kOptimal) config.spacing = Spacing::kTrailing;
  config.steps = steps;
  return config;
}

namespace {

std::optional<Conflict> list_conflict(const SampleConfig& config,
                                      std::optional<int64_t> timesteps) {
  const std::vector<int64_t>& t = config.steps_at;
  if (t.empty()) return std::nullopt;
  if (std::adjacent_find(t.begin(), t.end(), std::less_equal<>()) != t.end())
    return Conflict{"steps_at", "must fall from each number to the next, as in 999,500,1"};
  if (t.back() < 1)
    return Conflict{"steps_at", fmt::format("ends at {}; timesteps are 1 or more", t.back())};
  if (timesteps && t.front() > *timesteps)
    return Conflict{"steps_at", fmt::format("begins at {}, but the schedule has {} timesteps",
                                            t.front(), *timesteps)};
  if (config.steps != 0 && config.steps != std::ssize(t))
    return Conflict{"steps", fmt::format("= {} contradicts the {} timesteps of steps_at; leave it "
                                         "out",
                                         config.steps, t.size())};
  return std::nullopt;
}

std::optional<Conflict> threshold_conflict(const SampleConfig& c) {
  if (c.dynamic_threshold > 0 && c.clip == Clip::kNone)
    return Conflict{"dynamic_threshold", "needs clip = clip or rederive, which it replaces"};
  if (c.dynamic_threshold_max > 0 && c.dynamic_threshold == 0)
    return Conflict{"dynamic_threshold_max", "needs a dynamic_threshold, as 0.995"};
  return std::nullopt;
}

std::optional<Conflict> guidance_conflict(const diffusion::Guidance& g) {
  if (!g.interval.empty() && !(g.interval.size() == 2 && g.interval[0] < g.interval[1]))
    return Conflict{"guidance_interval", "must be two numbers, the lower one first"};
  if (g.weight == 1.0 && g != diffusion::Guidance{})
    return Conflict{
        "guidance",
        "must not be 1 (no guidance) if other guidance settings are given; set a number "
        "above 1, or leave them out"};
  return std::nullopt;
}

}  // namespace

std::optional<Conflict> find_conflict(const SampleConfig& config,
                                      std::optional<int64_t> timesteps) {
  if (!(config.eta >= 0 && config.eta <= 1)) return Conflict{"eta", "must be a number of 0 to 1"};
  if (timesteps && config.steps > *timesteps) {
    return Conflict{"steps", fmt::format("is {0}, but the schedule has {1} timesteps; use 1 to {1}",
                                         config.steps, *timesteps)};
  }
  if (auto conflict = list_conflict(config, timesteps)) return conflict;
  if (auto conflict = threshold_conflict(config)) return conflict;
  if (auto conflict = guidance_conflict(config.guidance)) return conflict;
  const MethodEntry& method = method_named(config.method);
  if (config.order > method.max_order)
    return Conflict{"order",
                    method.max_order == 0
                        ? fmt::format("is not a setting of {}", config.method)
                        : fmt::format("of {} is 1 to {}", config.method, method.max_order)};
  return method.check(config);
}

void fields(config::Fields& f, SampleConfig& c) {
  f("method", c.method, method_names());
  f("steps", c.steps, config::at_least(0));
  f("order", c.order, {0, 4});
  f("eta", c.eta, {0.0, 1.0});
  f("sigma", c.sigma);
  f("spacing", c.spacing);
  f("steps_at", c.steps_at, config::at_least(1));
  f("stepping", c.stepping);
  f("clip", c.clip);
  f("clip_range", c.clip_range, config::positive());
  f("dynamic_threshold", c.dynamic_threshold, {0.0, 1.0});
  f("dynamic_threshold_max", c.dynamic_threshold_max, config::at_least(0.0));
  f("steps_offset", c.steps_offset, {0, 1'000'000});
  f("last_alpha", c.last_alpha);
  f("guidance", c.guidance.weight, {0.0, 1000.0});
  f("guidance_interval", c.guidance.interval, config::at_least(0.0));
  f("guidance_rescale", c.guidance.rescale, {0.0, 1.0});
  f("guidance_parallel", c.guidance.parallel, {0.0, 1.0});
  f("guidance_norm", c.guidance.norm, config::at_least(0.0));
  f("guidance_momentum", c.guidance.momentum, {-1.0, 1.0, true, true});
  f("num", c.num, config::at_least(1));
  f("batch", c.batch, config::at_least(1));
  f("provenance", c.provenance);
}

SampleConfig read_sample_config(config::Reader& reader) {
  const auto config = config::read<SampleConfig>(reader);
  if (const auto conflict = find_conflict(config)) {
    reader.fail(conflict->key, conflict->message);
  }
  return config;
}

}  // namespace ddpm::sample
