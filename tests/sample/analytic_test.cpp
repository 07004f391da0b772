// The optimal variance (Bao 2022): the samples of Gaussian data have the right variance after any
// number of steps.

#include "ddpm/sample/reverse_process.h"
#include "tests/sample/exact_denoiser.h"

#include <cmath>
#include <map>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample::analytic_test {
namespace {

constexpr double kVariance = 0.25;  // of the data, N(0, 0.25)

// Var(x_0 | x_t) by t = 0..T (docs/math.md, "The best possible network").
std::vector<double> posterior_variances(const diffusion::Schedule& schedule) {
  std::vector<double> values{0.0};
  for (int64_t t = 1; t <= schedule.timesteps(); ++t) {
    const double noise = schedule.one_minus_alpha_bar(t);
    values.push_back(kVariance * noise / (schedule.alpha_bar(t) * kVariance + noise));
  }
  return values;
}

// The variance of x at t = 1 of a chain of `steps`, exactly: the chain is linear in x_T and z. Row 0
// follows x_T = 1 without noise, row k + 1 follows z_k = 1 alone.
double variance_at_the_end(const SampleConfig& config, const diffusion::Schedule& schedule) {
  const int64_t steps = config.steps;
  torch::Tensor x_T = torch::zeros({steps + 1, 1, 1, 1}, torch::kDouble);
  x_T[0] = 1;
  torch::Tensor before_last;
  const auto hook = [&](const TrajectoryPoint& point) {
    before_last = point.x_t;
    return true;
  };
  const auto unit = [&](int64_t k, int64_t) {
    torch::Tensor z = torch::zeros_like(x_T);
    z[k + 1] = 1;
    return z;
  };
  ReverseProcess(diffusion::Diffusion(schedule, diffusion::Prediction::kEpsilon), config)
      .run(gaussian_denoiser(schedule, 0.0, kVariance), x_T, unit, hook);
  return before_last.square().sum().item<double>();
}

SampleConfig config_of(const char* method, Sigma sigma, int64_t steps) {
  SampleConfig config;
  config.method = method;
  config.sigma = sigma;
  config.steps = steps;
  config.clip = Clip::kNone;
  config.spacing = Spacing::kLinspace;  // from T to 1
  return config;
}

TEST(Analytic, VarianceIsRightAfterAnyNumberOfSteps) {
  const diffusion::Schedule schedule(diffusion::ScheduleConfig{});
  const double truth = schedule.alpha_bar(1) * kVariance + schedule.one_minus_alpha_bar(1);
  EXPECT_NEAR(truth, 0.25008, 1e-5);
  for (const char* method : {kDdpm, kDdim}) {
    for (const int64_t steps : {2, 3, 5, 10, 50, 200}) {
      SampleConfig config = config_of(method, Sigma::kAnalytic, steps);
      config.posterior_variance = posterior_variances(schedule);
      EXPECT_NEAR(variance_at_the_end(config, schedule), truth, 1e-4) << method << ", " << steps;
    }
  }
  // eta between the two: the mean is another, the variance as right.
  SampleConfig half = config_of(kDdim, Sigma::kAnalytic, 5);
  half.eta = 0.5;
  half.posterior_variance = posterior_variances(schedule);
  EXPECT_NEAR(variance_at_the_end(half, schedule), truth, 1e-4);
}

TEST(Analytic, TheFixedVariancesAreFarOffWithFewSteps) {
  const diffusion::Schedule schedule(diffusion::ScheduleConfig{});
  const auto of = [&](Sigma sigma, int64_t steps) {
    return variance_at_the_end(config_of(kDdpm, sigma, steps), schedule);
  };
  EXPECT_LT(of(Sigma::kSmall, 5), 0.06);
  EXPECT_GT(of(Sigma::kLarge, 5), 0.5);
  EXPECT_NEAR(of(Sigma::kSmall, 50), 0.1966, 5e-3);
  EXPECT_NEAR(of(Sigma::kLarge, 50), 0.2681, 5e-3);
}

TEST(Analytic, NeedsTheVariances) {
  const diffusion::Schedule schedule(diffusion::ScheduleConfig{});
  for (const char* method : {kDdpm, kDdim})
    EXPECT_THROW(variance_at_the_end(config_of(method, Sigma::kAnalytic, 5), schedule), c10::Error)
        << method;
}

}  // namespace
}  // namespace ddpm::sample::analytic_test
