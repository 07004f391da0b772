// Method "bespoke": its weights are fitted to a network.

#include "ddpm/base/error.h"
#include "ddpm/sample/bespoke_fit.h"
#include "ddpm/sample/reverse_process.h"
#include "tests/sample/exact_denoiser.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample::bespoke_test {
namespace {

using diffusion::Diffusion;
using diffusion::Prediction;
using diffusion::Schedule;

SampleConfig config_of(const std::string& method, int64_t steps) {
  SampleConfig config;
  config.method = method;
  config.steps = steps;
  config.spacing = Spacing::kTrailing;
  config.clip = Clip::kNone;
  return config;
}

GenerateOptions of_side(int64_t side) {
  GenerateOptions options;
  options.channels = 1;
  options.height = options.width = side;
  options.dtype = torch::kFloat64;
  return options;
}

torch::Tensor noise_of(int64_t images, int64_t side) {
  torch::manual_seed(5);
  return torch::randn({images, 1, side, side}, torch::kDouble);
}

torch::Tensor run(const diffusion::Denoiser& network, const Diffusion& diffusion,
                  const SampleConfig& config, const torch::Tensor& x_T) {
  return *ReverseProcess(diffusion, config).run(network, x_T, [&](int64_t, int64_t) {
    return torch::zeros_like(x_T);
  });
}

double rms(const torch::Tensor& x) { return x.square().mean().sqrt().item<double>(); }

// Pixels of one variance c: the exact solution is x_0 = x_T sqrt(c / (alpha_bar_T c + 1 -
// alpha_bar_T)) (docs/math.md, "Discretisation error"), and the best weights give it.
TEST(Bespoke, OnGaussianDataFewStepsAreExact) {
  const double c = 0.25;
  for (const auto& [kind, prediction] :
       {std::pair(diffusion::ScheduleKind::kLinear, Prediction::kEpsilon),
        {diffusion::ScheduleKind::kCosine, Prediction::kV},
        {diffusion::ScheduleKind::kFlow, Prediction::kFlow}}) {
    const Diffusion diffusion(Schedule({.kind = kind}), prediction);
    const auto network = gaussian_denoiser(diffusion.schedule(), 0.0, c, prediction);
    const double a2 = diffusion.schedule().alpha_bar(1000);
    const torch::Tensor x_T = noise_of(4, 16);
    const torch::Tensor exact = x_T * std::sqrt(c / (a2 * c + 1 - a2));
    for (const int64_t steps : {3, 5, 10}) {
      SampleConfig config = config_of("bespoke", steps);
      config.bespoke = fit_bespoke(network, diffusion, config, of_side(16));
      const double off = rms(run(network, diffusion, config, x_T) - exact) / rms(exact);
      const double of_ddim =
          rms(run(network, diffusion, config_of(kDdim, steps), x_T) - exact) / rms(exact);
      EXPECT_LT(off, 0.004) << config::to_string(kind) << ", " << steps << " steps";
      EXPECT_GT(of_ddim, 0.04) << config::to_string(kind) << ", " << steps << " steps";
    }
  }
}

// Data that no linear rule samples exactly: nearer to the fine solution than the other methods, with
// noise that the fit has not seen.
TEST(Bespoke, IsNearerToTheFineSolutionThanOtherMethods) {
  const Diffusion diffusion(Schedule({.kind = diffusion::ScheduleKind::kCosine}),
                            Prediction::kEpsilon);
  const auto network = mixture_denoiser(diffusion.schedule(), {{0.3, 0.7}, {-0.8, 0.5}, 0.01});
  const torch::Tensor x_T = noise_of(8, 16);
  const torch::Tensor fine = run(network, diffusion, config_of("unipc", 300), x_T);
  for (const int64_t steps : {5, 10}) {
    SampleConfig config = config_of("bespoke", steps);
    config.bespoke = fit_bespoke(network, diffusion, config, of_side(16));
    const double own = rms(run(network, diffusion, config, x_T) - fine);
    for (const char* method : {"ddim", "unipc", "dpmpp_2m", "deis"})
      EXPECT_LT(own, 0.9 * rms(run(network, diffusion, config_of(method, steps), x_T) - fine))
          << method << ", " << steps << " steps";
  }
}

TEST(Bespoke, WithoutAFitItIsDdimBitForBit) {
  const Diffusion diffusion(Schedule({.timesteps = 200}), Prediction::kEpsilon);
  const auto network = gaussian_denoiser(diffusion.schedule(), 0.3, 0.04);
  const torch::Tensor x_T = noise_of(2, 8);
  EXPECT_TRUE(needs_fit(config_of("bespoke", 7)));
  EXPECT_FALSE(needs_fit(config_of(kDdim, 7)));
  EXPECT_TRUE(torch::equal(run(network, diffusion, config_of("bespoke", 7), x_T),
                           run(network, diffusion, config_of(kDdim, 7), x_T)));
}

// The weights in hand: x_s = DDIM's + w_0 x_t + w_1 x0_hat(t) + w_2 x0_hat(former t).
TEST(Bespoke, AddsItsWeightsToDdim) {
  const Diffusion diffusion(Schedule({.timesteps = 100}), Prediction::kX0);
  const auto network = [](const torch::Tensor& x, const torch::Tensor&) { return 0.5 * x; };
  const torch::Tensor x_T = noise_of(1, 4);
  SampleConfig config = config_of("bespoke", 2);
  config.steps_at = {100, 40};
  SampleConfig ddim = config;
  ddim.method = kDdim;
  config.bespoke = {{100, 40, {0.1, -0.2}}};
  const auto middle = [&](const SampleConfig& c) {
    torch::Tensor x;
    ReverseProcess(diffusion, c)
        .run(
            network, x_T, [&](int64_t, int64_t) { return torch::zeros_like(x_T); },
            [&](const TrajectoryPoint& point) {
              x = point.x_t;
              return true;
            });
    return x;
  };
  const torch::Tensor x = middle(config);
  EXPECT_TRUE(torch::allclose(x, middle(ddim) + 0.1 * x_T - 0.2 * 0.5 * x_T, 0, 1e-15));
  // The second step reads two estimates, its own and the former one: 0.5 x and 0.5 x_T.
  const torch::Tensor plain = run(network, diffusion, config, x_T);
  config.bespoke.push_back({40, 0, {0.3, 0.2, -0.4}});
  EXPECT_TRUE(torch::allclose(run(network, diffusion, config, x_T),
                              plain + 0.3 * x + 0.2 * 0.5 * x - 0.4 * 0.5 * x_T, 0, 1e-15));
  // A chain that begins at 40 has no former estimate: DDIM.
  config.steps_at = ddim.steps_at = {40};
  config.steps = ddim.steps = 1;
  EXPECT_TRUE(
      torch::equal(run(network, diffusion, config, x_T), run(network, diffusion, ddim, x_T)));
}

TEST(Bespoke, TheFitTakesTheCallsThatItSaysAndIsTheSameEachTime) {
  const Diffusion diffusion(Schedule({.timesteps = 300}), Prediction::kV);
  const auto exact = gaussian_denoiser(diffusion.schedule(), 0.1, 0.25, Prediction::kV);
  int64_t calls = 0, images = 0;
  const auto network = [&](const torch::Tensor& x, const torch::Tensor& t) {
    ++calls;
    images = x.size(0);
    return exact(x, t);
  };
  const SampleConfig config = config_of("bespoke", 6);
  GenerateOptions options = of_side(16);
  options.seed = 1;
  const auto fitted = fit_bespoke(network, diffusion, config, options);
  const FitCost cost = cost_of_fit(config, diffusion.schedule(), options);
  EXPECT_EQ(calls, cost.calls);
  EXPECT_EQ(images, cost.images);
  EXPECT_EQ(images, 64);
  ASSERT_EQ(fitted.size(), 6u);
  EXPECT_EQ(fitted[0].t, 300);
  EXPECT_EQ(fitted[5].s, 0);
  for (size_t i = 0; i < 6; ++i)
    EXPECT_EQ(fitted[i].weights.size(), std::min<size_t>(i + 1, 3) + 1);
  options.seed = 2;  // the fit has noise of its own
  options.images = {7};
  options.batch = 1;
  EXPECT_EQ(fit_bespoke(network, diffusion, config, options), fitted);
  options.progress = [](const Progress& p) { return p.step < 3; };
  EXPECT_THROW(fit_bespoke(network, diffusion, config, options), Error);
}

// t = T x^p as nearest whole numbers, fitted on its own.
SampleConfig fitted_at(const diffusion::Denoiser& network, const Diffusion& diffusion,
                       const SampleConfig& like, double exponent) {
  SampleConfig config = like;
  for (int64_t i = like.steps; i >= 1; --i) {
    const double share = static_cast<double>(i) / static_cast<double>(like.steps);
    config.steps_at.push_back(std::lround(1000 * std::pow(share, exponent)));
  }
  config.bespoke = fit_bespoke(network, diffusion, config, of_side(16));
  return config;
}

// Of networks whose best exponents differ (1.3 and 1.5), the fit finds each one's: with noise that it
// has not seen, it is as near to the fine solution as the best exponent, and nearer than the worst.
TEST(Bespoke, ChoosesTheExponentOfSpacingPower) {
  std::set<int64_t> chosen;
  for (const auto kind : {diffusion::ScheduleKind::kCosine, diffusion::ScheduleKind::kLinear}) {
    const Diffusion diffusion(Schedule({.kind = kind}), Prediction::kEpsilon);
    const auto network = mixture_denoiser(diffusion.schedule(), {{0.3, 0.7}, {-0.8, 0.5}, 0.0004});
    const torch::Tensor x_T = noise_of(8, 16);
    const torch::Tensor fine = run(network, diffusion, config_of("unipc", 300), x_T);
    SampleConfig config = config_of("bespoke", 5);
    config.spacing = Spacing::kPower;
    const auto off = [&](const SampleConfig& c) {
      return rms(run(network, diffusion, c, x_T) - fine);
    };
    std::vector<double> errors;
    for (const double exponent : kFitExponents)
      errors.push_back(off(fitted_at(network, diffusion, config, exponent)));
    config.bespoke = fit_bespoke(network, diffusion, config, of_side(16));
    const double own = off(config);
    chosen.insert(config.bespoke[1].t);
    EXPECT_LT(own, 1.1 * *std::min_element(errors.begin(), errors.end()));
    EXPECT_LT(own, 0.8 * *std::max_element(errors.begin(), errors.end()));
  }
  EXPECT_EQ(chosen.size(), 2u);
}

// The fitted steps are the plan, whichever exponent they come from; of another number, they are not.
TEST(Bespoke, WithSpacingPowerTheFittedStepsAreThePlan) {
  SampleConfig config = config_of("bespoke", 2);
  config.spacing = Spacing::kPower;
  const Schedule schedule({.timesteps = 100});
  const std::vector<PlanStep> before = timestep_plan(schedule, config);
  config.bespoke = {{100, 30, {0.0, 0.0}}, {30, 0, {0.0, 0.0, 0.0}}};
  EXPECT_EQ(timestep_plan(schedule, config), (std::vector<PlanStep>{{100, 30}, {30, 0}}));
  SampleConfig other = config;
  other.steps = 3;
  EXPECT_EQ(std::ssize(timestep_plan(schedule, other)), 3);
  other = config;
  other.method = kDdim;
  EXPECT_EQ(timestep_plan(schedule, other), before);
  other = config;
  other.spacing = Spacing::kTrailing;
  EXPECT_EQ(timestep_plan(schedule, other), (std::vector<PlanStep>{{100, 50}, {50, 0}}));
  other.spacing = Spacing::kPower;
  other.steps_at = {90, 10};
  EXPECT_EQ(timestep_plan(schedule, other), (std::vector<PlanStep>{{90, 10}, {10, 0}}));
}

// Also where the steps are many for so few timesteps, or one.
TEST(Bespoke, AFitWithSpacingPowerTakesItsCallsAndAnyNumberOfSteps) {
  for (const int64_t T : {7, 20, 100, 1000})
    for (const int64_t steps : {1, 2, 5, 7}) {
      const Diffusion diffusion(Schedule({.timesteps = T}), Prediction::kV);
      const auto exact = gaussian_denoiser(diffusion.schedule(), 0.1, 0.25, Prediction::kV);
      int64_t calls = 0;
      const auto network = [&](const torch::Tensor& x, const torch::Tensor& t) {
        ++calls;
        return exact(x, t);
      };
      SampleConfig config = config_of("bespoke", steps);
      config.spacing = Spacing::kPower;
      const FitCost cost = cost_of_fit(config, diffusion.schedule(), of_side(4));
      config.bespoke = fit_bespoke(network, diffusion, config, of_side(4));
      EXPECT_EQ(calls, cost.calls) << T << ", " << steps;
      const std::vector<PlanStep> plan = timestep_plan(diffusion.schedule(), config);
      ASSERT_EQ(std::ssize(plan), steps) << T;
      EXPECT_EQ(plan.front().t, T);
      EXPECT_EQ(plan.back().s, 0);
      for (size_t i = 0; i + 1 < plan.size(); ++i) EXPECT_EQ(plan[i].s, plan[i + 1].t);
    }
}

TEST(Bespoke, RefusesPlansWhoseStepsDoNotMeet) {
  SampleConfig config = config_of("bespoke", 5);
  EXPECT_FALSE(find_conflict(config));
  config.stepping = Stepping::kDiffusers;
  EXPECT_EQ(find_conflict(config)->key, "stepping");
  config = config_of("bespoke", 5);
  config.last_alpha = LastAlpha::kFirst;
  EXPECT_EQ(find_conflict(config)->key, "last_alpha");
  config = config_of("bespoke", 5);
  config.eta = 0.5;
  EXPECT_EQ(find_conflict(config)->key, "eta");
}

}  // namespace
}  // namespace ddpm::sample::bespoke_test
