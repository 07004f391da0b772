// Samplers with the best possible network on a Gaussian mixture, against docs/math.md, "Any data":
// the distance W of a sampler's outcome from the data is bounded, and means and standard deviations
// differ by at most W.

#include "ddpm/sample/generate.h"
#include "tests/sample/exact_denoiser.h"
#include "tests/sample/gaussian_recursion.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample::mixture_data_test {
namespace {

const diffusion::Schedule kSchedule{diffusion::ScheduleConfig{}};
const Mixture kWide{.weights = {0.3, 0.7}, .means = {-0.5, 0.5}, .variance = 0.25};
const Mixture kNarrow{.weights = {0.3, 0.7}, .means = {-0.8, 0.6}, .variance = 0.09};
const Mixture kTwoPeaks{.weights = {0.3, 0.7}, .means = {-0.8, 0.6}, .variance = 0.01};

struct Moments {
  double mean, deviation;
};

torch::Tensor drawn(const Mixture& mixture, const SampleConfig& config, GenerateOptions options) {
  options.dtype = torch::kFloat64;
  options.batch = static_cast<int64_t>(options.images.size());
  options.channels = 1;
  torch::Tensor images;
  generate(mixture_denoiser(kSchedule, mixture),
           diffusion::Diffusion(kSchedule, diffusion::Prediction::kEpsilon), config, options,
           [&](int64_t, const torch::Tensor& batch) { images = batch; });
  return images;
}

/// Moments of DDIM's outcome (eta = 0) without sampling error: x_0 is a function of x_T alone, so
/// they are integrals over x_T ~ N(0,1), here by the trapezoid rule: all but exact for a smooth
/// function (so not for kTwoPeaks, where x_0 all but jumps).
Moments ddim_moments(const Mixture& mixture, int64_t steps) {
  const int64_t points = 2001;
  const torch::Tensor x_T = torch::linspace(-10, 10, points, torch::kFloat64);
  const torch::Tensor p = torch::softmax(-x_T.square() / 2, 0);
  GenerateOptions options;
  options.images = image_range(0, points);
  options.height = options.width = 1;
  options.initial_noise = x_T.view({points, 1, 1, 1});
  const torch::Tensor x0 = drawn(mixture, samplers_with(steps)[2].config, options).flatten();
  const double mean = (p * x0).sum().item<double>();
  return {mean, std::sqrt((p * (x0 - mean).square()).sum().item<double>())};
}

/// The bound W of docs/math.md, "Any data".
double distance_bound(const Mixture& mixture, const SampleConfig& config) {
  const double c = mixture.total_variance(), v = mixture.variance;
  const auto [low, high] = std::minmax_element(mixture.means.begin(), mixture.means.end());
  const double radius2 = std::pow((*high - *low) / 2, 2);
  const auto plan = timestep_plan(kSchedule.timesteps(), config.steps, config.spacing);
  const double first = kSchedule.alpha_bar(plan.front().t);
  double w2 = first * (c + mixture.mean() * mixture.mean()) + std::pow(1 - std::sqrt(1 - first), 2);
  for (const PlanStep step : plan) {
    const double at = kSchedule.alpha_bar(step.t), a_t = std::sqrt(at), n_t = std::sqrt(1 - at);
    const JumpWeights w = jump_weights(kSchedule, config, step);
    const double weight = std::sqrt(kSchedule.alpha_bar(step.s)) - w.b * a_t / n_t;
    const double d = at * v + 1 - at;
    const double spread = v * (1 - at) / d + std::pow((1 - at) / d, 2) * radius2;
    const double slope = w.b / n_t + weight * a_t / (1 - at) * spread;
    const double unknown = c * (1 - at) / (at * c + 1 - at);
    w2 = slope * slope * w2 + weight * weight * unknown + w.extra;
  }
  return std::sqrt(w2);
}

TEST(MixtureData, DdimIsWithinTheDerivedDistanceOfTheData) {
  for (const int64_t steps : {10, 50, 1000}) {
    const Moments got = ddim_moments(kWide, steps);
    const double bound = distance_bound(kWide, samplers_with(steps)[2].config);
    EXPECT_LT(bound, steps == 10 ? 0.5 : steps == 50 ? 0.25 : 0.06);
    EXPECT_NEAR(got.mean, kWide.mean(), bound) << steps;
    EXPECT_NEAR(got.deviation, std::sqrt(kWide.total_variance()), bound) << steps;
  }
}

TEST(MixtureData, DdimsErrorIsOfFirstOrder) {
  for (const Mixture& mixture : {kWide, kNarrow}) {
    const double deviation = std::sqrt(mixture.total_variance());
    const auto error = [&](int64_t steps) {
      return deviation - ddim_moments(mixture, steps).deviation;
    };
    const double at_250 = error(250), at_500 = error(500), at_1000 = error(1000);
    // Twice the steps, half the error, but for the start from N(0,I) instead of q_T, whose share is
    // the same for all S (docs/math.md, "Discretisation error").
    EXPECT_NEAR(at_250 / at_500, 2.0, 0.15);
    EXPECT_NEAR(at_500 / at_1000, 2.0, 0.15);
    EXPECT_LT(at_1000, 0.004 * deviation);
  }
}

TEST(MixtureData, EverySamplersImagesAreWithinTheDerivedDistanceOfTheData) {
  GenerateOptions options;
  options.images = image_range(0, 64);
  options.height = options.width = 8;
  options.seed = 5;
  const double deviation = std::sqrt(kWide.total_variance());
  for (const int64_t steps : {10, 50, 1000}) {
    for (const auto& [name, config] : samplers_with(steps)) {
      const torch::Tensor x = drawn(kWide, config, options);
      const double bound = distance_bound(kWide, config);
      // 4.5 standard errors, for a kurtosis of at most a Gaussian's.
      const double error = 4.5 * deviation / std::sqrt(static_cast<double>(x.numel()));
      EXPECT_NEAR(x.mean().item<double>(), kWide.mean(), bound + error) << name;
      EXPECT_NEAR(x.std().item<double>(), deviation, bound + error) << name;
      if (steps == 1000) {
        EXPECT_LT(bound, 0.13) << name;
      }
    }
  }
}

TEST(MixtureData, FullChainsFindBothPeaksInTheirProportion) {
  GenerateOptions options;
  options.images = image_range(0, 64);
  options.height = options.width = 8;
  options.seed = 6;
  for (const auto& [name, config] : samplers_with(1000)) {
    const torch::Tensor x = drawn(kTwoPeaks, config, options);
    const auto n = static_cast<double>(x.numel());
    const torch::Tensor left = x.less(-0.1);  // 7 deviations from either peak
    // 4.5 standard errors of a share, and 1% for the discretisation.
    EXPECT_NEAR(left.to(torch::kFloat64).mean().item<double>(), 0.3,
                4.5 * std::sqrt(0.21 / n) + 0.01)
        << name;
    // A peak of variance 0.01 keeps it within the Gaussian bound for c = 0.01 (docs/math.md).
    const double bound = gaussian_outcome(kSchedule, config, 0, 0.01).variance_bound;
    for (const auto& [side, peak] : {std::pair(left, -0.8), std::pair(left.logical_not(), 0.6)}) {
      const torch::Tensor members = x.masked_select(side);
      const auto count = static_cast<double>(members.numel());
      EXPECT_NEAR(members.mean().item<double>(), peak, 4.5 * 0.1 / std::sqrt(count) + 0.005)
          << name;
      EXPECT_NEAR(members.var().item<double>(), 0.01, 0.01 * (bound + 4.5 * std::sqrt(2 / count)))
          << name;
    }
  }
}

}  // namespace
}  // namespace ddpm::sample::mixture_data_test
