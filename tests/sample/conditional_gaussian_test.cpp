#include "ddpm/diffusion/condition.h"
#include "ddpm/diffusion/diffusion.h"
#include "ddpm/sample/reverse_process.h"
#include "tests/sample/exact_denoiser.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

// A linear-Gaussian pair: x_0 ~ N(0, S) over 2x2 pixels, c = a^T x_0 their mean. Then x_0 given c is
// N(S a (a^T S a)^-1 c, S - S a a^T S / (a^T S a)).

namespace ddpm::sample {
namespace {

constexpr diffusion::ConditionConfig kMeanOfAll{.kind = diffusion::ConditionKind::kDownsample,
                                                .factor = 2};
const torch::Tensor kMixing = torch::tensor({{0.20, 0.05, 0.10, 0.00},
                                             {0.00, 0.25, 0.05, 0.10},
                                             {0.10, 0.00, 0.15, 0.05},
                                             {0.05, 0.10, 0.00, 0.30}},
                                            torch::kDouble);

torch::Tensor covariance() { return kMixing.matmul(kMixing.t()); }
torch::Tensor average() { return torch::full({4}, 0.25, torch::kDouble); }

torch::Tensor posterior_mean(double c) {
  const torch::Tensor sa = covariance().matmul(average());
  return sa / average().dot(sa) * c;
}
torch::Tensor posterior_covariance() {
  const torch::Tensor sa = covariance().matmul(average());
  return covariance() - torch::outer(sa, sa) / average().dot(sa);
}

double largest(const torch::Tensor& x) { return x.abs().max().item<double>(); }

// What the loss learns (docs/math.md): of all linear functions of (x_t, c), that of least squared
// error predicts as the best network given c. The condition is made as training makes it.
TEST(ConditionalGaussian, TheLossLearnsTheNoiseGivenTheCondition) {
  constexpr int64_t kImages = 200000;
  const diffusion::Schedule schedule(diffusion::ScheduleConfig{});
  const diffusion::Diffusion diffusion(schedule, diffusion::Prediction::kEpsilon);
  torch::manual_seed(11);
  const torch::Tensor x0 =
      torch::randn({kImages, 4}, torch::kDouble).matmul(kMixing.t()).view({-1, 1, 2, 2});
  const torch::Tensor c =
      diffusion::condition_input(diffusion::condition_picture(kMeanOfAll, x0), 2, 2, torch::kDouble)
          .flatten(1)
          .narrow(1, 0, 1);  // enlarged, one pixel is constant
  for (const int64_t time : {100, 400, 800}) {
    const torch::Tensor t = torch::full({kImages}, time, torch::kLong);
    const torch::Tensor eps = torch::randn_like(x0);
    const torch::Tensor x_t = diffusion.noised(x0, t, eps);
    const torch::Tensor target = diffusion.target(x0, eps, x_t, t).flatten(1);
    const torch::Tensor read = torch::cat({x_t.flatten(1), c, torch::ones_like(c)}, 1);
    const torch::Tensor fit =
        torch::linalg_solve(read.t().matmul(read), read.t().matmul(target), true);

    for (const double given : {-0.3, 0.1}) {
      const torch::Tensor x = torch::tensor({{0.3, -0.4, 0.1, 0.6}}, torch::kDouble);
      const torch::Tensor row =
          torch::cat({x, torch::tensor({{given, 1.0}}, torch::kDouble)}, /*dim=*/1);
      const torch::Tensor best =
          gaussian_denoiser(schedule, posterior_mean(given), posterior_covariance())(
              x.view({1, 1, 2, 2}), torch::full({1}, time, torch::kLong));
      const torch::Tensor blind =
          gaussian_denoiser(schedule, torch::zeros({4}, torch::kDouble), covariance())(
              x.view({1, 1, 2, 2}), torch::full({1}, time, torch::kLong));
      // Coefficients of 200,000 draws miss by about 0.01; the levels of c add less.
      const double missed = largest(row.matmul(fit) - best.flatten(1));
      EXPECT_LT(missed, 0.03) << "t = " << time << ", c = " << given;
      if (given < 0) {
        EXPECT_GT(largest(blind - best), 3 * missed) << "the condition matters here";
      }
    }
  }
}

// With the best network, samples have the mean and covariance of the posterior.
TEST(ConditionalGaussian, SamplesHaveThePosteriorsMeanAndCovariance) {
  constexpr int64_t kImages = 20000;
  const diffusion::Schedule schedule(diffusion::ScheduleConfig{});
  const diffusion::Diffusion diffusion(schedule, diffusion::Prediction::kEpsilon);
  torch::manual_seed(12);
  const torch::Tensor x_T = torch::randn({kImages, 1, 2, 2}, torch::kDouble);
  SampleConfig config;
  config.method = kDdim;
  config.steps = 500;
  config.spacing = Spacing::kTrailing;
  config.clip = Clip::kNone;
  for (const double c : {-0.5, 0.2}) {
    const diffusion::Denoiser exact =
        gaussian_denoiser(schedule, posterior_mean(c), posterior_covariance());
    const torch::Tensor x = ReverseProcess(diffusion, config)
                                .run(exact, x_T, [&](int64_t, int64_t) { return x_T; })
                                ->flatten(1);
    const torch::Tensor mean = x.mean(0), centred = x - mean;
    // Standard errors: sqrt(V / n) up to 0.002 and sqrt(2 / n) V up to 0.001; DDIM's own error in
    // 500 steps is of the same size.
    EXPECT_LT(largest(mean - posterior_mean(c)), 0.01) << c;
    EXPECT_LT(largest(centred.t().matmul(centred) / (kImages - 1) - posterior_covariance()), 0.005);
    // The samples agree with the condition itself.
    EXPECT_LT(largest(x.matmul(average()) - c), 0.02) << c;
  }
}

}  // namespace
}  // namespace ddpm::sample
