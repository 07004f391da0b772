#include "ddpm/diffusion/guidance.h"
#include "ddpm/sample/reverse_process.h"
#include "tests/sample/exact_denoiser.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

// With data N(0, s^2), eps_hat = sigma y / (s^2 + sigma^2), y = x / sqrt(alpha_bar) and sigma^2 =
// (1 - alpha_bar) / alpha_bar. The guided ODE dy/dsigma = w sigma y / (s_1^2 + sigma^2) + (1 - w)
// sigma y / (s_0^2 + sigma^2) has the solution y ~ (s_1^2 + sigma^2)^(w/2) (s_0^2 +
// sigma^2)^((1-w)/2).

namespace ddpm::sample {
namespace {

constexpr double kMain = 0.09, kGuide = 0.25;  // s_1^2 and s_0^2

// x_0 / x_T of the guided ODE.
double exact_ratio(const diffusion::Schedule& schedule, double w) {
  const double alpha_bar = schedule.alpha_bar(schedule.timesteps());
  const auto y = [&](double sigma2) {
    return std::pow(kMain + sigma2, w / 2) * std::pow(kGuide + sigma2, (1 - w) / 2);
  };
  return y(0.0) / y((1 - alpha_bar) / alpha_bar) / std::sqrt(alpha_bar);
}

// The same by DDIM with eta 0 in `steps` steps.
double ddim_ratio(const diffusion::Schedule& schedule, double w, int64_t steps,
                  diffusion::Prediction prediction) {
  SampleConfig config;
  config.method = kDdim;
  config.steps = steps;
  config.clip = Clip::kNone;
  config.spacing = Spacing::kTrailing;
  const diffusion::Diffusion diffusion(schedule, prediction);
  const diffusion::GuidedDenoiser guided(
      {.weight = w}, diffusion,
      diffusion::sources_of(gaussian_denoiser(schedule, 0.0, kMain, prediction),
                            gaussian_denoiser(schedule, 0.0, kGuide, prediction)));
  const torch::Tensor x_T = torch::ones({1, 1, 1, 1}, torch::kDouble);
  return ReverseProcess(diffusion, config)
      .run(guided, x_T, [&](int64_t, int64_t) { return x_T; })
      ->item<double>();
}

TEST(GuidedGaussian, DdimConvergesToTheGuidedFlowWithOrderOne) {
  const diffusion::Schedule schedule({.timesteps = 4000, .beta_start = 2.5e-5, .beta_end = 5e-3});
  for (const double w : {0.0, 1.0, 2.0, 4.0}) {
    const double exact = exact_ratio(schedule, w);
    for (const auto prediction : {diffusion::Prediction::kEpsilon, diffusion::Prediction::kV}) {
      const double coarse = ddim_ratio(schedule, w, 500, prediction) - exact;
      const double fine = ddim_ratio(schedule, w, 1000, prediction) - exact;
      EXPECT_LT(std::abs(fine / exact), 0.02) << w;
      EXPECT_NEAR(coarse / fine, 2.0, 0.2) << w;
    }
  }
}

TEST(GuidedGaussian, GuidanceNarrowsTheSamples) {
  const diffusion::Schedule schedule(diffusion::ScheduleConfig{});
  const auto epsilon = diffusion::Prediction::kEpsilon;
  const double narrowed =
      ddim_ratio(schedule, 3.0, 1000, epsilon) / ddim_ratio(schedule, 1.0, 1000, epsilon);
  // exact_ratio at w = 3 over that at w = 1: kMain / kGuide.
  EXPECT_NEAR(narrowed, 0.36, 0.01);
}

}  // namespace
}  // namespace ddpm::sample
