// L_vlb as a loss: what its gradient does on Gaussian data.

#include "ddpm/diffusion/variational.h"

#include "ddpm/diffusion/posterior.h"
#include "tests/sample/exact_denoiser.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample::variational_test {
namespace {

using diffusion::ModelVariance;

const diffusion::Schedule kSchedule{diffusion::ScheduleConfig{}};
const diffusion::Diffusion kDiffusion{kSchedule, diffusion::Prediction::kEpsilon};

// Var(x_0 | x_t) of N(0, c) (docs/math.md, Section 11), and the best variance of Section 15.
double best_variance(int64_t t, double c) {
  const double signal = kSchedule.alpha_bar(t), noise = kSchedule.one_minus_alpha_bar(t);
  const double posterior = c * noise / (signal * c + noise);
  const auto jump = diffusion::jump_posterior(kSchedule, t, t - 1);
  return jump.small + jump.x0 * jump.x0 * posterior;
}

// The mean over many x_0 and x_t of d term / d v, with its standard error, for a network with the
// best mean whose variance weight is v everywhere.
std::pair<double, double> slope_at(int64_t t, double c, double v) {
  constexpr int64_t kImages = 100'000;
  torch::manual_seed(5);
  const torch::Tensor x0 = std::sqrt(c) * torch::randn({kImages, 1, 1, 1}, torch::kDouble);
  const torch::Tensor eps = torch::randn_like(x0);
  const torch::Tensor times = torch::full({kImages}, t, torch::kLong);
  const torch::Tensor x_t = kDiffusion.noised(x0, times, eps);
  const torch::Tensor mean = gaussian_denoiser(kSchedule, 0.0, c)(x_t, times);
  const torch::Tensor weight =
      torch::full_like(x0, 2 * v - 1).requires_grad_(true);  // as the network states it
  diffusion::variational_term(kDiffusion, ModelVariance::kLearned, false,
                              torch::cat({mean, weight}, 1), x0, x_t, times)
      .sum()
      .backward();
  const torch::Tensor slopes = 2 * weight.grad();
  return {slopes.mean().item<double>(), slopes.std().item<double>() / std::sqrt(double(kImages))};
}

TEST(Objective, OfALearnedVarianceIsLeastAtTheOptimalVariance) {
  for (const double c : {0.01, 0.25}) {
    for (const int64_t t : {2, 20, 300, 800}) {
      const auto jump = diffusion::jump_posterior(kSchedule, t, t - 1);
      const double v =
          std::log(best_variance(t, c) / jump.small) / std::log(jump.large / jump.small);
      const auto [slope, error] = slope_at(t, c, v);
      EXPECT_LT(std::abs(slope), 5 * error) << "t = " << t;
      EXPECT_LT(slope_at(t, c, v - 0.5).first, -5 * error) << "t = " << t;
      EXPECT_GT(slope_at(t, c, v + 0.5).first, 5 * error) << "t = " << t;
    }
  }
}

TEST(Objective, HasFiniteGradientsEverywhere) {
  const torch::Tensor x0 = torch::tensor({-1.0, -0.5, 0.0, 1.0}, torch::kDouble).view({4, 1, 1, 1});
  for (const int64_t t : {1, 2, 500, 1000}) {
    const torch::Tensor times = torch::full({4}, t, torch::kLong);
    for (const double far : {0.0, 1.0, -30.0}) {
      const torch::Tensor output =
          torch::full({4, 2, 1, 1}, far, torch::kDouble).requires_grad_(true);
      diffusion::variational_term(
          kDiffusion, ModelVariance::kLearned, false,
          torch::cat({output.narrow(1, 0, 1), output.narrow(1, 1, 1).tanh()}, 1), x0,
          0.9 * x0 + 0.1, times)
          .sum()
          .backward();
      EXPECT_TRUE(output.grad().isfinite().all().item<bool>()) << t << ", " << far;
    }
  }
}

}  // namespace
}  // namespace ddpm::sample::variational_test
