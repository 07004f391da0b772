// The example of docs/extending.md, "A sampler": DPM-Solver++(2M).

#include "ddpm/diffusion/schedule.h"
#include "ddpm/sample/sampler.h"
#include "ddpm/sample/timestep_plan.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace ddpm::extending {
namespace {

/// DPM-Solver++(2M) (Lu 2022, "DPM-Solver++", Algorithm 2), without noise. A multistep method of
/// second order: it remembers the x0_hat of the step before. One object per batch.
class DpmSolver : public sample::Sampler {
 public:
  explicit DpmSolver(const diffusion::Schedule& schedule) : schedule_(schedule) {}

  /// The first step and the step to s = 0 are of first order: DDIM with eta = 0.
  torch::Tensor step(const sample::PlanStep& step, const torch::Tensor& x_t,
                     const sample::Estimator& estimate, const sample::StepNoise&) override {
    const torch::Tensor x0_hat = estimate(x_t, step.t).x0;
    torch::Tensor x0 = x0_hat;
    if (step.s > 0) {
      const double h = lambda(step.s) - lambda(step.t);
      if (before_.defined()) x0 = x0_hat + h / (2 * h_before_) * (x0_hat - before_);
      before_ = x0_hat;
      h_before_ = h;
    }
    const double ratio = noise(step.s) / noise(step.t);
    return ratio * x_t + (signal(step.s) - signal(step.t) * ratio) * x0;
  }

 private:
  double signal(int64_t t) const { return std::sqrt(schedule_.alpha_bar(t)); }
  double noise(int64_t t) const { return std::sqrt(schedule_.one_minus_alpha_bar(t)); }
  double lambda(int64_t t) const { return std::log(signal(t) / noise(t)); }  // half the log SNR

  diffusion::Schedule schedule_;
  torch::Tensor before_;  // x0_hat of the step before
  double h_before_ = 0;
};

constexpr double kVariance = 0.25;  // of the data, N(0, kVariance)

torch::Tensor scalar(double value) {
  return torch::full({1, 1, 1, 1}, value, torch::dtype(torch::kDouble));
}

/// Var(x_t) = alpha_bar c + 1 - alpha_bar.
double variance_at(const diffusion::Schedule& schedule, int64_t t) {
  return schedule.alpha_bar(t) * kVariance + schedule.one_minus_alpha_bar(t);
}

/// E[x0 | x_t] (docs/math.md, "The best possible network").
sample::Estimator exact_network(const diffusion::Schedule& schedule) {
  return [&schedule](const torch::Tensor& x, int64_t t) {
    const double weight = std::sqrt(schedule.alpha_bar(t)) * kVariance / variance_at(schedule, t);
    return diffusion::Estimate{weight * x, torch::Tensor()};
  };
}

torch::Tensor no_noise(int64_t) { return {}; }

/// Distance from the exact solution x_1 = sqrt(Var(x_1) / Var(x_T)) x_T of the probability flow
/// ODE, after `steps` steps from x_T = 1. `remember` false: one object per step, so first order.
double error_of(int64_t steps, bool remember) {
  const diffusion::Schedule schedule(diffusion::ScheduleConfig{});
  const int64_t T = schedule.timesteps();
  DpmSolver solver(schedule);
  torch::Tensor x = scalar(1);
  for (int64_t i = 0; i < steps; ++i) {
    const auto t_of = [&](int64_t k) { return T - k * (T - 1) / steps; };
    const sample::PlanStep step{t_of(i), t_of(i + 1)};
    if (!remember) solver = DpmSolver(schedule);
    x = solver.step(step, x, exact_network(schedule), no_noise);
  }
  const double exact = std::sqrt(variance_at(schedule, 1) / variance_at(schedule, T));
  return std::abs(x.item<double>() - exact);
}

TEST(SamplerExample, IsOfSecondOrder) {
  // Twice the steps: a quarter of the error, or half of it at first order. The band holds the terms
  // of higher order.
  const double ratio = error_of(80, true) / error_of(160, true);
  EXPECT_GT(ratio, 3.5);
  EXPECT_LT(ratio, 4.5);
  const double first_order = error_of(80, false) / error_of(160, false);
  EXPECT_GT(first_order, 1.8);
  EXPECT_LT(first_order, 2.2);
}

TEST(SamplerExample, IsExactForASinglePoint) {
  const diffusion::Schedule schedule(diffusion::ScheduleConfig{});
  const sample::Estimator point = [](const torch::Tensor&, int64_t) {
    return diffusion::Estimate{scalar(-0.3), torch::Tensor()};
  };
  for (const int64_t steps : {1, 2, 7, 1000}) {
    DpmSolver solver(schedule);
    torch::Tensor x = scalar(1.7);
    for (const sample::PlanStep& step :
         sample::timestep_plan(schedule.timesteps(), steps, sample::Spacing::kTrailing))
      x = solver.step(step, x, point, no_noise);
    EXPECT_NEAR(x.item<double>(), -0.3, 1e-14) << steps;
  }
}

}  // namespace
}  // namespace ddpm::extending
