// Samplers with the best possible network on Gaussian data. Each is a linear map of its noise,
// whose outcome docs/math.md, "Discretisation error", has in closed form.

#include "ddpm/sample/generate.h"
#include "tests/sample/exact_denoiser.h"
#include "tests/sample/gaussian_recursion.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample::gaussian_data_test {
namespace {

using diffusion::Prediction;

const diffusion::Schedule kSchedule{diffusion::ScheduleConfig{}};
constexpr int64_t kStepCounts[] = {10, 50, 1000};
constexpr double kVariances[] = {0.04, 0.25, 1.0, 4.0};
constexpr double kMean = 0.3;

GenerateOptions options_of(int64_t count, int64_t channels, int64_t height, int64_t width) {
  GenerateOptions options;
  options.images = image_range(0, count);
  options.channels = channels;
  options.height = height;
  options.width = width;
  options.batch = count;
  options.seed = 11;
  options.dtype = torch::kFloat64;
  return options;
}

torch::Tensor drawn(const diffusion::Denoiser& denoiser, const SampleConfig& config,
                    const GenerateOptions& options, Prediction prediction = Prediction::kEpsilon) {
  torch::Tensor images;
  generate(denoiser, diffusion::Diffusion(kSchedule, prediction), config, options,
           [&](int64_t, const torch::Tensor& batch) { images = batch; });
  return images;
}

/// Mean and variance of x_0 without any sampling error: image 0 gets no noise at all, image 1 x_T =
/// 1, image 2 + k only z_k = 1. The map is affine, so their ends are its constant and its weights.
std::pair<double, double> impulse_response(const SampleConfig& config, double c) {
  const int64_t steps = config.steps, count = steps + 2;
  GenerateOptions options = options_of(count, 1, 1, 1);
  options.initial_noise = torch::zeros({count, 1, 1, 1}, torch::kFloat64);
  options.initial_noise[1] = 1;
  options.step_noise = torch::zeros({steps, count, 1, 1, 1}, torch::kFloat64);
  for (int64_t k = 0; k < steps; ++k) {
    options.step_noise[k][2 + k] = 1;
  }
  const torch::Tensor ends =
      drawn(gaussian_denoiser(kSchedule, kMean, c), config, options).flatten();
  const double mean = ends[0].item<double>();
  return {mean, (ends.slice(0, 1) - mean).square().sum().item<double>()};
}

TEST(GaussianData, EverySamplerHasExactlyTheDerivedMeanAndVariance) {
  for (const int64_t steps : kStepCounts) {
    for (const auto& [name, config] : samplers_with(steps)) {
      for (const double c : kVariances) {
        const auto [mean, variance] = impulse_response(config, c);
        const GaussianOutcome want = gaussian_outcome(kSchedule, config, kMean, c);
        EXPECT_NEAR(mean, want.mean, 1e-10) << name << ", c = " << c;
        EXPECT_NEAR(variance, want.variance, 1e-9 * c) << name << ", c = " << c;
      }
    }
  }
}

TEST(GaussianData, DerivedOutcomeIsTheDataWithinTheDerivedBound) {
  for (const int64_t steps : kStepCounts) {
    for (const auto& [name, config] : samplers_with(steps)) {
      for (const double c : kVariances) {
        const GaussianOutcome got = gaussian_outcome(kSchedule, config, kMean, c);
        EXPECT_LE(std::abs(got.variance - c) / c, got.variance_bound) << name << ", c = " << c;
        EXPECT_LE(std::abs(got.mean - kMean), got.mean_bound) << name << ", c = " << c;
        if (steps == 1000) {  // the bound says something: 5% at worst, where the data are narrowest
          EXPECT_LT(got.variance_bound, 0.05) << name << ", c = " << c;
          EXPECT_LT(got.mean_bound, 0.004) << name << ", c = " << c;
        }
      }
    }
  }
}

TEST(GaussianData, DdimLosesTheCosinesOfItsTurns) {
  // eta = 0: variance = c / D_T prod cos^2(angle between successive (a sqrt(c), n)).
  for (const int64_t steps : kStepCounts) {
    for (const double c : kVariances) {
      const SampleConfig config = samplers_with(steps)[2].config;
      double product = 1, first_length2 = 0;
      for (const PlanStep step : timestep_plan(1000, steps, config.spacing)) {
        const auto angle = [&](int64_t t) {
          return std::atan2(std::sqrt(1 - kSchedule.alpha_bar(t)),
                            std::sqrt(kSchedule.alpha_bar(t) * c));
        };
        if (first_length2 == 0) {
          first_length2 = kSchedule.alpha_bar(step.t) * c + 1 - kSchedule.alpha_bar(step.t);
        }
        product *= std::pow(std::cos(angle(step.t) - angle(step.s)), 2);
      }
      EXPECT_NEAR(impulse_response(config, c).second, c / first_length2 * product, 1e-10 * c);
    }
  }
}

TEST(GaussianData, LargeVarianceIsExactForUnitVarianceData) {
  // Ho 2020, Sec. 3.2: beta is the right variance where x_0 ~ N(0,I). All that is left is the last
  // step, without noise from t = 1: it loses 1 - alpha_bar_1 = 1e-4.
  for (const int64_t steps : kStepCounts) {
    const double variance = impulse_response(samplers_with(steps)[1].config, 1.0).second;
    EXPECT_NEAR(variance, 1 - 1e-4, 1e-9);
  }
}

TEST(GaussianData, SmallVarianceIsExactForASinglePoint) {
  // Ho 2020, Sec. 3.2: beta_tilde is right where x_0 is one point; every sampler then lands on it.
  for (const int64_t steps : kStepCounts) {
    const auto [mean, variance] = impulse_response(samplers_with(steps)[0].config, 0.0);
    EXPECT_NEAR(mean, kMean, 1e-12);
    EXPECT_NEAR(variance, 0.0, 1e-20);
  }
}

TEST(GaussianData, DrawnImagesHaveTheDerivedMeanAndVariance) {
  const double c = 0.25;
  for (const int64_t steps : kStepCounts) {
    for (const auto& [name, config] : samplers_with(steps)) {
      const torch::Tensor x =
          drawn(gaussian_denoiser(kSchedule, kMean, c), config, options_of(256, 1, 4, 8));
      const auto n = static_cast<double>(x.numel());
      const GaussianOutcome want = gaussian_outcome(kSchedule, config, kMean, c);
      // 4.5 standard errors: sqrt(v / n) of the mean, v sqrt(2 / n) of the variance.
      EXPECT_NEAR(x.mean().item<double>(), want.mean, 4.5 * std::sqrt(want.variance / n)) << name;
      EXPECT_NEAR(x.var().item<double>(), want.variance, 4.5 * want.variance * std::sqrt(2 / n))
          << name;
    }
  }
}

/// A covariance over 6 pixels with eigenvalues 0.04 to 2, in a rotated frame.
torch::Tensor test_covariance() {
  const torch::Tensor i = torch::arange(36, torch::kFloat64).view({6, 6});
  const auto [q, r] = torch::linalg_qr((0.7 * i + 0.1 * i.square()).sin());
  const torch::Tensor values = torch::tensor({0.04, 0.1, 0.25, 0.5, 1.0, 2.0}, torch::kFloat64);
  return q.matmul(values.diag()).matmul(q.t());
}

TEST(GaussianData, DrawnImagesHaveTheDerivedCovariance) {
  const torch::Tensor covariance = test_covariance();
  const torch::Tensor mean = torch::linspace(-0.5, 0.5, 6, torch::kFloat64);
  const auto [values, vectors] = torch::linalg_eigh(covariance, "L");
  const auto denoiser = gaussian_denoiser(kSchedule, mean, covariance);
  const int64_t count = 2048;
  for (const int64_t steps : kStepCounts) {
    for (const auto& [name, config] : samplers_with(steps)) {
      // Each eigenvector of the covariance is a direction of its own, as the noise is isotropic.
      torch::Tensor derived = torch::zeros({6}, torch::kFloat64);
      torch::Tensor bound = torch::zeros({6}, torch::kFloat64);
      for (int64_t i = 0; i < 6; ++i) {
        const auto c = values[i].item<double>();
        const GaussianOutcome outcome = gaussian_outcome(kSchedule, config, 0, c);
        derived[i] = outcome.variance;
        bound[i] = c * outcome.variance_bound;
      }
      const torch::Tensor x = drawn(denoiser, config, options_of(count, 3, 1, 2)).flatten(1);
      const torch::Tensor got = vectors.t().matmul(torch::cov(x.t())).matmul(vectors);
      // In the eigenframe an entry's standard error is sqrt(v_i v_j / n), sqrt(2) more on the
      // diagonal.
      const torch::Tensor error = (derived.unsqueeze(0) * derived.unsqueeze(1) / count).sqrt() *
                                  (1 + (std::sqrt(2.0) - 1) * torch::eye(6, torch::kFloat64));
      EXPECT_TRUE(((got - derived.diag()).abs() < 4.5 * error).all().item<bool>())
          << name << "\n"
          << got << derived;
      // And so the data's own, within that and the discretisation error.
      EXPECT_TRUE(((got - values.diag()).abs() <= 4.5 * error + bound.diag()).all().item<bool>())
          << name;
      const torch::Tensor off = (x.mean(0) - mean).matmul(vectors);
      // sqrt(v / n), and the start's sqrt(alpha_bar) times the mean, which is below 1.2 long.
      EXPECT_TRUE((off.abs() < 4.5 * (derived / count).sqrt() + 1.2 * 0.015).all().item<bool>())
          << name << off;
    }
  }
}

TEST(GaussianData, EveryPredictionDrawsTheSameImages) {
  for (const auto& [name, config] : samplers_with(50)) {
    const torch::Tensor by_eps =
        drawn(gaussian_denoiser(kSchedule, kMean, 0.25), config, options_of(4, 1, 3, 3));
    for (const Prediction prediction :
         {Prediction::kX0, Prediction::kMu, Prediction::kV, Prediction::kFlow, Prediction::kEdm}) {
      const torch::Tensor x = drawn(gaussian_denoiser(kSchedule, kMean, 0.25, prediction), config,
                                    options_of(4, 1, 3, 3), prediction);
      EXPECT_TRUE(torch::allclose(x, by_eps, 1e-10, 1e-10))
          << name << config::to_string(prediction);
    }
  }
}

TEST(GaussianData, EtaOneOverAllStepsIsAlgorithm2) {
  const auto samplers = samplers_with(1000);
  const auto denoiser = gaussian_denoiser(kSchedule, kMean, 0.25);
  const torch::Tensor algorithm2 = drawn(denoiser, samplers[0].config, options_of(16, 3, 4, 4));
  const torch::Tensor eta_one = drawn(denoiser, samplers[4].config, options_of(16, 3, 4, 4));
  // Not exactly equal, for the two add the same terms in another order.
  EXPECT_LT((algorithm2 - eta_one).abs().max().item<double>(), 1e-12);
  const torch::Tensor large = drawn(denoiser, samplers[1].config, options_of(16, 3, 4, 4));
  const torch::Tensor hat = drawn(denoiser, samplers[5].config, options_of(16, 3, 4, 4));
  EXPECT_LT((large - hat).abs().max().item<double>(), 1e-12);
  EXPECT_GT((large - algorithm2).abs().max().item<double>(), 1e-3);
}

}  // namespace
}  // namespace ddpm::sample::gaussian_data_test
