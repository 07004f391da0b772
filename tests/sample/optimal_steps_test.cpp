#include "src/sample/optimal_steps.h"

#include "ddpm/sample/reverse_process.h"
#include "ddpm/sample/sample_config.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <gtest/gtest.h>

namespace ddpm::sample {
namespace {

using diffusion::Schedule;

// Var(x_0 | x_t) of Gaussian data of variance c (docs/math.md, Section 11).
std::vector<double> gaussian_variances(const Schedule& schedule, double c) {
  std::vector<double> v{0.0};
  for (int64_t t = 1; t <= schedule.timesteps(); ++t) {
    const double signal = schedule.alpha_bar(t), noise = schedule.one_minus_alpha_bar(t);
    v.push_back(c * noise / (signal * c + noise));
  }
  return v;
}

double sum_of(const Schedule& schedule, const std::vector<double>& v,
              const std::vector<int64_t>& ascending) {
  double sum = 0;
  for (size_t i = 0; i < ascending.size(); ++i)
    sum += jump_divergence(schedule, v, ascending[i], i == 0 ? 0 : ascending[i - 1]);
  return sum;
}

// KL of two Gaussians with equal covariance structure: the posterior N(mean(x_0), small) from the
// step N(mean(x0_hat), best), in expectation over x_0 given x_t.
TEST(OptimalSteps, TheLossOfAJumpIsTheKlDivergence) {
  const Schedule schedule(diffusion::ScheduleConfig{});
  const std::vector<double> v = gaussian_variances(schedule, 0.3);
  for (const auto& [t, s] : {std::pair<int64_t, int64_t>{1000, 900}, {500, 499}, {30, 2}}) {
    const double at = schedule.alpha_bar(t), as = schedule.alpha_bar(s);
    const double beta = schedule.jump_beta(t, s);
    const double weight = std::sqrt(as) * beta / (1 - at), small = (1 - as) / (1 - at) * beta;
    const double best = small + weight * weight * v[static_cast<size_t>(t)];
    const double shift = best - small;  // E |mean(x_0) - mean(x0_hat)|^2
    const double kl = 0.5 * (std::log(best / small) - 1 + (small + shift) / best);
    EXPECT_NEAR(jump_divergence(schedule, v, t, s), kl, 1e-9 * kl) << t << " to " << s;
  }
}

// All 4 of 12 timesteps with T.
TEST(OptimalSteps, AreTheBestOfAllLists) {
  for (const auto kind : {diffusion::ScheduleKind::kLinear, diffusion::ScheduleKind::kCosine}) {
    const Schedule schedule({.kind = kind, .timesteps = 12, .beta_end = 0.4});
    for (const double c : {0.01, 0.25, 1.0}) {
      const std::vector<double> v = gaussian_variances(schedule, c);
      std::vector<bool> chosen(11, false);
      std::fill(chosen.begin(), chosen.begin() + 3, true);
      double least = std::numeric_limits<double>::infinity();
      std::vector<int64_t> best;
      do {
        std::vector<int64_t> list;
        for (int64_t t = 1; t <= 11; ++t)
          if (chosen[static_cast<size_t>(t - 1)]) list.push_back(t);
        list.push_back(12);
        const double sum = sum_of(schedule, v, list);
        if (sum < least) least = sum, best = list;
      } while (std::prev_permutation(chosen.begin(), chosen.end()));
      EXPECT_EQ(optimal_timesteps(schedule, v, 4), best) << config::to_string(kind) << ", " << c;
    }
  }
}

TEST(OptimalSteps, LoseLessThanEverySpacing) {
  const Schedule schedule(diffusion::ScheduleConfig{});
  const std::vector<double> v = gaussian_variances(schedule, 0.25);
  SampleConfig config;
  for (const int64_t steps : {2, 5, 10, 50}) {
    config.steps = steps;
    const double least = sum_of(schedule, v, optimal_timesteps(schedule, v, steps));
    for (const Spacing spacing :
         {Spacing::kTrailing, Spacing::kLinspace, Spacing::kLogSnr, Spacing::kKarras}) {
      config.spacing = spacing;
      std::vector<int64_t> ascending;
      for (const PlanStep& step : timestep_plan(schedule, config))
        ascending.insert(ascending.begin(), step.t);
      EXPECT_LE(least, sum_of(schedule, v, ascending) + 1e-12) << config::to_string(spacing);
    }
  }
}

TEST(OptimalSteps, WorkWithoutSignalAtTAndWithManyTimesteps) {
  const Schedule zero({.timesteps = 100, .zero_terminal_snr = true});
  for (const int64_t steps : {1, 2, 7, 99, 100}) {
    const auto t = optimal_timesteps(zero, gaussian_variances(zero, 0.25), steps);
    ASSERT_EQ(std::ssize(t), steps);
    EXPECT_EQ(t.back(), 100);
    EXPECT_TRUE(std::is_sorted(t.begin(), t.end()));
  }
  const Schedule longer({.kind = diffusion::ScheduleKind::kCosine, .timesteps = 4000});
  const auto t = optimal_timesteps(longer, gaussian_variances(longer, 0.25), 20);
  EXPECT_EQ(t.size(), 20u);
  EXPECT_EQ(t.back(), 4000);
}

// What is measured for the timesteps is not taken for the noise.
TEST(OptimalSteps, DoNotChangeTheMethodsNoise) {
  const Schedule schedule({.timesteps = 20});
  for (const char* method : {"ddpm", "ddim"}) {
    SampleConfig config;
    config.method = method;
    const auto drawn = [&] {
      const torch::Tensor x_T = torch::linspace(-1, 1, 6, torch::kDouble).view({1, 1, 2, 3});
      return *ReverseProcess(diffusion::Diffusion(schedule, diffusion::Prediction::kEpsilon),
                             config)
                  .run([](const torch::Tensor& x, const torch::Tensor&) { return 0.3 * x; }, x_T,
                       [&](int64_t k, int64_t) { return x_T.roll(k, 3); });
    };
    const torch::Tensor plain = drawn();
    config.spacing = Spacing::kOptimal;
    config.posterior_variance = gaussian_variances(schedule, 0.25);
    EXPECT_TRUE(torch::equal(drawn(), plain)) << method;
  }
}

TEST(OptimalSteps, AreASpacingOfTheConfig) {
  const Schedule schedule(diffusion::ScheduleConfig{});
  SampleConfig config;
  config.spacing = Spacing::kOptimal;
  config.steps = 5;
  EXPECT_TRUE(needs_posterior_variance(config));
  EXPECT_ANY_THROW(timestep_plan(schedule, config)) << "nothing is measured";
  config.posterior_variance = gaussian_variances(schedule, 0.25);
  std::vector<int64_t> ascending;
  for (const PlanStep& step : timestep_plan(schedule, config))
    ascending.insert(ascending.begin(), step.t);
  EXPECT_EQ(ascending, optimal_timesteps(schedule, config.posterior_variance, 5));
  EXPECT_EQ(with_ddim(config, 5).spacing, Spacing::kTrailing) << "previews measure nothing";
}

}  // namespace
}  // namespace ddpm::sample
