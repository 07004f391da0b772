#include "ddpm/sample/ancestral.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

torch::Tensor number(double value) { return torch::full({1, 1, 1, 1}, value, torch::kFloat64); }

/// What the step makes of (x_t, x0_hat, z), eps_hat being none of its business.
double stepped(const AncestralSampler& sampler, PlanStep step, double x_t, double x0, double z) {
  return sampler.step(step, number(x_t), {number(x0), torch::Tensor()}, number(z)).item<double>();
}

TEST(Ancestral, StridedPosteriorIsTheProductOfTwoGaussians) {
  // q(x_s | x_t, x_0) ~ q(x_s | x_0) q(x_t | x_s): precisions add, means are weighted by them.
  const diffusion::Schedule schedule({});
  const AncestralSampler sampler(schedule, AncestralVariance::kSmall);
  for (const PlanStep step :
       {PlanStep{1000, 900}, PlanStep{501, 1}, PlanStep{2, 1}, PlanStep{30, 29}}) {
    const double ratio = schedule.alpha_bar(step.t) / schedule.alpha_bar(step.s);
    const double prior = 1 - schedule.alpha_bar(step.s);
    const double likelihood = 1 - ratio;  // variance of x_t given x_s
    const double variance = 1 / (1 / prior + ratio / likelihood);
    const double x0 = 0.4, x_t = -0.7;
    const double mean = variance * (std::sqrt(schedule.alpha_bar(step.s)) * x0 / prior +
                                    std::sqrt(ratio) * x_t / likelihood);
    EXPECT_NEAR(stepped(sampler, step, x_t, x0, 0), mean, 1e-11);
    EXPECT_NEAR(stepped(sampler, step, x_t, x0, 1) - mean, std::sqrt(variance), 1e-11);
  }
}

TEST(Ancestral, SingleStepsAreHosAlgorithm2) {
  // Line 4: (x_t - beta_t / sqrt(1 - alpha_bar_t) eps) / sqrt(alpha_t) + sigma_t z, from eps_hat.
  const diffusion::Schedule schedule({});
  const AncestralSampler small(schedule, AncestralVariance::kSmall);
  const AncestralSampler large(schedule, AncestralVariance::kLarge);
  for (const int64_t t : {2, 10, 500, 1000}) {
    const double noise = std::sqrt(1 - schedule.alpha_bar(t));
    const double x_t = 0.9, eps = -0.6, z = 1.3;
    const double x0 = (x_t - noise * eps) / std::sqrt(schedule.alpha_bar(t));
    const double mean = (x_t - schedule.beta(t) / noise * eps) / std::sqrt(schedule.alpha(t));
    const double beta_tilde = schedule.posterior_variance(t);
    const PlanStep step{t, t - 1};
    EXPECT_NEAR(stepped(small, step, x_t, x0, z), mean + std::sqrt(beta_tilde) * z, 1e-11);
    EXPECT_NEAR(stepped(large, step, x_t, x0, z), mean + std::sqrt(schedule.beta(t)) * z, 1e-11);
  }
}

TEST(Ancestral, LastStepIsX0WithoutNoise) {
  const diffusion::Schedule schedule({});
  for (const auto variance : {AncestralVariance::kSmall, AncestralVariance::kLarge}) {
    const AncestralSampler sampler(schedule, variance);
    for (const int64_t t : {1, 100, 1000}) {
      EXPECT_FALSE(sampler.uses_noise({t, 0}));
      EXPECT_NEAR(stepped(sampler, {t, 0}, 5.0, 0.4, 100.0), 0.4, 1e-13);
    }
  }
}

}  // namespace
}  // namespace ddpm::sample
