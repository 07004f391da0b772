#include "fit_trials.h"

#include "ddpm/sample/bespoke_fit.h"

#include <algorithm>
#include <cmath>

namespace ddpm::sample {
namespace {

constexpr int64_t kFineCalls = 60;

// The plan's timesteps, and others evenly between them; after the last one they gather at 0, where
// the finest details appear.
std::vector<int64_t> fine_times(const std::vector<PlanStep>& plan) {
  const int64_t even = std::max<int64_t>(2, kFineCalls / std::ssize(plan));
  std::vector<int64_t> times;
  for (const PlanStep& step : plan) {
    const int64_t parts = step.s == 0 ? 2 * even : even;
    for (int64_t k = 0; k < parts; ++k) {
      const double left = 1 - static_cast<double>(k) / static_cast<double>(parts);
      const double share = step.s == 0 ? left * left : left;
      const int64_t t = step.s + std::lround(share * static_cast<double>(step.t - step.s));
      if (t >= 1 && (times.empty() || t < times.back())) times.push_back(t);
    }
  }
  return times;
}

// S jumps from t = T x^exponent, x = 1/S .. 1, or from the timestep of the fine solution nearest to it.
std::vector<PlanStep> power_plan(const std::vector<int64_t>& fine, int64_t steps, double exponent) {
  std::vector<int64_t> ascending;
  const auto t_of = [&](int64_t i) { return fine[static_cast<size_t>(std::ssize(fine) - 1 - i)]; };
  int64_t from = 0;  // of those from the small end, the first that is free
  for (int64_t i = 0; i < steps; ++i) {
    const double t = power_time(fine.front(), i + 1, steps, exponent);
    const int64_t last = std::ssize(fine) - steps + i;  // the larger ones need a timestep each
    while (from < last && std::abs(t - static_cast<double>(t_of(from + 1))) <
                              std::abs(t - static_cast<double>(t_of(from))))
      ++from;
    ascending.push_back(t_of(from++));
  }
  return jumps_of(ascending);
}

}  // namespace

FitTrials trials_of_fit(const SampleConfig& config, const diffusion::Schedule& schedule) {
  if (!tries_exponents(config)) {
    const std::vector<PlanStep> plan = timestep_plan(schedule, config);
    return {fine_times(plan), {plan}};
  }
  SampleConfig even = config;
  even.spacing = Spacing::kTrailing;
  const std::vector<PlanStep> plan = timestep_plan(schedule, even);
  FitTrials trials{fine_times(plan), {}};
  for (const double exponent : kFitExponents) {
    const auto tried = power_plan(trials.fine, std::ssize(plan), exponent);
    if (std::find(trials.plans.begin(), trials.plans.end(), tried) == trials.plans.end())
      trials.plans.push_back(tried);
  }
  return trials;
}

}  // namespace ddpm::sample
