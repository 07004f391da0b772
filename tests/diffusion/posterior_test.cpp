#include "ddpm/diffusion/posterior.h"

#include "ddpm/diffusion/diffusion.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::diffusion {
namespace {

torch::Tensor int64(std::initializer_list<int64_t> values) {
  return torch::tensor(std::vector<int64_t>(values), torch::kInt64);
}

TEST(Noised, StepByStepEqualsTheClosedForm) {
  // x_t is linear in (x_0, eps_1, ..., eps_t). Row 0 of a batch follows x_0 = 1 without noise, row
  // j follows eps_j = 1 alone: their ends are the weights of a sum of independent Gaussians.
  const int64_t timesteps = 60;
  const Schedule schedule({.kind = ScheduleKind::kCosine, .timesteps = timesteps});
  const Diffusion diffusion(schedule, Prediction::kEpsilon);
  torch::Tensor x = torch::zeros({timesteps + 1, 1, 1, 1}, torch::kFloat64);
  x[0] = 1;
  for (int64_t t = 1; t <= timesteps; ++t) {
    torch::Tensor eps = torch::zeros_like(x);
    eps[t] = 1;
    // q(x_t | x_{t-1}) (Ho 2020, Eq. 2).
    x = std::sqrt(1 - schedule.beta(t)) * x + std::sqrt(schedule.beta(t)) * eps;

    const torch::Tensor one = torch::ones({1, 1, 1, 1}, torch::kFloat64);
    const torch::Tensor zero = torch::zeros_like(one);
    const double signal = diffusion.noised(one, int64({t}), zero).item<double>();
    const double noise = diffusion.noised(zero, int64({t}), one).item<double>();
    EXPECT_NEAR(x[0].item<double>(), signal, 1e-14);
    EXPECT_NEAR(x.slice(0, 1).square().sum().item<double>(), noise * noise, 1e-14);
  }
}

/// Mean and variance of p(y) ~ q(x_t | y) q(y | x_0), y = x_{t-1}, by summing over a fine grid.
std::pair<double, double> bayes(const Schedule& schedule, int64_t t, double x0, double x_t) {
  const double centre = std::sqrt(schedule.alpha_bar(t - 1)) * x0;
  const double prior_variance = 1 - schedule.alpha_bar(t - 1);
  const double beta = schedule.beta(t);
  const double width = 12 * std::sqrt(prior_variance);
  const int64_t points = 400001;
  const torch::Tensor y = torch::linspace(centre - width, centre + width, points, torch::kFloat64);
  const torch::Tensor log_density = -(y - centre).square() / (2 * prior_variance) -
                                    (x_t - std::sqrt(1 - beta) * y).square() / (2 * beta);
  const torch::Tensor p = (log_density - log_density.max()).exp();
  const double mean = ((p * y).sum() / p.sum()).item<double>();
  return {mean, ((p * (y - mean).square()).sum() / p.sum()).item<double>()};
}

TEST(Posterior, IsBayesRule) {
  const Schedule schedule({});
  for (const int64_t t : {2, 3, 50, 500, 1000}) {
    for (const double x0 : {-1.0, 0.3}) {
      // An x_t that q(x_t | x_0) may well draw, so that the two factors overlap on the grid.
      const double x_t =
          std::sqrt(schedule.alpha_bar(t)) * x0 + 0.7 * std::sqrt(schedule.one_minus_alpha_bar(t));
      const auto [mean, variance] = bayes(schedule, t, x0, x_t);
      const torch::Tensor at_x0 = torch::full({1, 1}, x0, torch::kFloat64);
      const torch::Tensor at_xt = torch::full({1, 1}, x_t, torch::kFloat64);
      // The sum of a Gaussian over a grid this fine is exact to rounding.
      EXPECT_NEAR(posterior_mean(schedule, at_x0, at_xt, int64({t})).item<double>(), mean, 1e-10);
      const double got = posterior_variance(schedule, int64({t}), at_x0).item<double>();
      EXPECT_NEAR(got, variance, 1e-8 * variance);
    }
  }
}

TEST(Posterior, MeanAtTheFirstStepIsX0) {
  const torch::Tensor x0 = torch::randn({2, 3, 4, 4});
  const torch::Tensor x1 = torch::randn({2, 3, 4, 4});
  EXPECT_TRUE(torch::equal(posterior_mean(Schedule({}), x0, x1, int64({1, 1})), x0));
}

TEST(Noised, EachImageHasItsOwnTimestep) {
  const Diffusion diffusion(DiffusionConfig{});
  const torch::Tensor x0 = torch::randn({3, 2, 4, 4}, torch::kFloat64);
  const torch::Tensor eps = torch::randn_like(x0);
  const torch::Tensor together = diffusion.noised(x0, int64({1, 400, 1000}), eps);
  const std::vector<int64_t> t{1, 400, 1000};
  for (int64_t b = 0; b < 3; ++b) {
    const torch::Tensor alone =
        diffusion.noised(x0.slice(0, b, b + 1), int64({t[b]}), eps.slice(0, b, b + 1));
    EXPECT_TRUE(torch::equal(together.slice(0, b, b + 1), alone));
  }
}

}  // namespace
}  // namespace ddpm::diffusion
