#include "ddpm/sample/restore.h"

#include "ddpm/sample/methods.h"
#include "ddpm/sample/reverse_process.h"
#include "tests/sample/exact_denoiser.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

using diffusion::Prediction;

const auto kDouble = torch::dtype(torch::kDouble);

SampleConfig config_of(const std::string& method, int64_t steps) {
  SampleConfig config;
  config.method = method;
  config.steps = steps;
  config.spacing = Spacing::kTrailing;
  config.clip = Clip::kNone;
  return config;
}

/// Gaussian images of 2x2 pixels, whose network is known, and what was measured of them.
class Restore : public testing::Test {
 protected:
  static constexpr int64_t kCount = 2000;

  Restore() {
    // Neighbours in reading order have the correlation 0.8.
    const torch::Tensor i = torch::arange(4, kDouble);
    covariance_ = 0.25 * torch::pow(0.8, (i.unsqueeze(0) - i.unsqueeze(1)).abs());
  }

  /// The chain of one batch, from x_T and with noise that depend on nothing else.
  torch::Tensor run(const SampleConfig& config, const Measurement* measurement, double scale,
                    int64_t* calls = nullptr) {
    const auto exact = gaussian_denoiser(schedule_, mean_, covariance_);
    const diffusion::Denoiser network = [&](const torch::Tensor& x, const torch::Tensor& t) {
      if (calls != nullptr) ++*calls;
      return exact(x, t);
    };
    const auto make = [&]() -> std::unique_ptr<Sampler> {
      auto plain = make_sampler(config, schedule_);
      if (measurement == nullptr) return plain;
      return std::make_unique<RestoreSampler>(std::move(plain), *measurement, scale);
    };
    torch::manual_seed(11);
    const torch::Tensor x_T = torch::randn({kCount, 1, 2, 2}, kDouble);
    return *ReverseProcess(diffusion::Diffusion(schedule_, Prediction::kEpsilon), config, make)
                .run(network, x_T, [&](int64_t, int64_t) { return torch::randn_like(x_T); });
  }

  /// E[x_0 | y] = m + C A^T (A C A^T)^{-1} (y - A m), [4], if y has no noise; a [1,4].
  torch::Tensor posterior_mean(const torch::Tensor& a, double y) const {
    const torch::Tensor along = covariance_.matmul(a.t()).flatten();
    return mean_ + along / a.matmul(along) * (y - a.matmul(mean_));
  }
  /// |y - A x|, the mean over images.
  static double off(const torch::Tensor& images, const Measurement& measurement) {
    const torch::Tensor residual = measurement.measured - measurement.degrade(images);
    return residual.flatten(1).norm(2, 1).mean().item<double>();
  }

  static torch::Tensor pixel_means(const torch::Tensor& images) {
    return images.flatten(1).mean(0);
  }
  static double distance(const torch::Tensor& a, const torch::Tensor& b) {
    return (a - b).norm().item<double>();
  }

  diffusion::Schedule schedule_{diffusion::ScheduleConfig{}};
  torch::Tensor mean_ = torch::tensor({0.2, 0.1, -0.1, 0.0}, kDouble);
  torch::Tensor covariance_;
};

// The mean of all four pixels is known. Measured: 0.009 to 0.014 from the posterior's mean, where plain
// samples are 1.1 away. The mean of 2000 samples has an error of 0.013 itself.
TEST_F(Restore, TheMeanOfAKnownSumIsThatOfThePosterior) {
  const double y = 0.6;
  const torch::Tensor truth = posterior_mean(torch::full({1, 4}, 0.25, kDouble), y);
  const Measurement measurement{torch::full({kCount, 1, 1, 1}, y, kDouble),
                                diffusion::downsampling(2)};
  for (const char* method : {kDdpm, kDdim}) {
    const SampleConfig config = config_of(method, 250);
    const torch::Tensor plain = run(config, nullptr, 0), images = run(config, &measurement, 0.06);
    EXPECT_GT(distance(pixel_means(plain), truth), 1.0) << method;
    EXPECT_LT(distance(pixel_means(images), truth), 0.05) << method;
    EXPECT_LT(off(images, measurement), 0.04 * off(plain, measurement)) << method;
  }
}

// One pixel is known. DPS takes p(y | x_t) as if x0_hat were x_0, which shifts the other pixels.
// Measured: 0.04 from the posterior's mean with this small scale, 0.3 with a scale three times as
// large; plain samples are 1.06 away.
TEST_F(Restore, TheMeanBesideAKnownPixelApproachesThatOfThePosterior) {
  const double y = 0.9;
  torch::Tensor first = torch::zeros({1, 4}, kDouble);
  first[0][0] = 1;
  const torch::Tensor truth = posterior_mean(first, y);
  const diffusion::Degradation degrade =
      diffusion::missing_pixels(torch::tensor({false, true, true, true}).view({1, 1, 2, 2}));
  const Measurement measurement{y * degrade(torch::ones({kCount, 1, 2, 2}, kDouble)), degrade};
  const SampleConfig config = config_of(kDdpm, 1000);
  const torch::Tensor plain = run(config, nullptr, 0), images = run(config, &measurement, 0.0095);
  EXPECT_GT(distance(pixel_means(plain), truth), 1.0);
  EXPECT_LT(distance(pixel_means(images), truth), 0.1);
  EXPECT_LT(off(images, measurement), 0.02 * off(plain, measurement));
}

// With x0_hat = g x_t, the gradient of |y - A x0_hat|^2 is -2 g A^T (y - A x0_hat).
TEST_F(Restore, AStepMovesByTheGradientOfEachImagesResidual) {
  constexpr double kVariance = 0.3, kScale = 0.7;
  const PlanStep step{400, 380};
  const double alpha_bar = schedule_.alpha_bar(step.t);
  const double g = std::sqrt(alpha_bar) * kVariance / (alpha_bar * kVariance + 1 - alpha_bar);
  const Estimator estimate = [&](const torch::Tensor& x, int64_t t) -> diffusion::Estimate {
    return {g * x, diffusion::implied_eps(g * x, schedule_, x, t)};
  };
  torch::manual_seed(3);
  const torch::Tensor x_t = torch::randn({2, 1, 4, 2}, kDouble);
  const torch::Tensor y = torch::randn({2, 1, 2, 1}, kDouble);
  const StepNoise noise = [&](int64_t) { return torch::ones_like(x_t); };
  const SampleConfig config = config_of(kDdpm, 50);
  const torch::Tensor plain = make_sampler(config, schedule_)->step(step, x_t, estimate, noise);

  const torch::Tensor residual = y - torch::avg_pool2d(g * x_t, 2);
  const torch::Tensor norm = residual.flatten(1).norm(2, 1).view({2, 1, 1, 1});
  const torch::Tensor back = residual.repeat_interleave(2, 2).repeat_interleave(2, 3) / 4;  // A^T
  RestoreSampler sampler(make_sampler(config, schedule_), {y, diffusion::downsampling(2)}, kScale);
  const torch::NoGradGuard no_grad;
  const torch::Tensor moved = sampler.step(step, x_t, estimate, noise) - plain;
  EXPECT_LT((moved - kScale / norm * 2 * g * back).abs().max().item<double>(), 1e-14);
  EXPECT_FALSE(moved.requires_grad());
}

TEST_F(Restore, ScaleZeroIsThePlainSamplerBitForBit) {
  const Measurement measurement{torch::full({kCount, 1, 1, 1}, 0.6, kDouble),
                                diffusion::downsampling(2)};
  for (const MethodEntry& method : methods()) {
    if (method.remembers) continue;
    const SampleConfig config = config_of(method.name, 20);
    EXPECT_TRUE(run(config, nullptr, 0).equal(run(config, &measurement, 0))) << method.name;
  }
}

TEST_F(Restore, CallsTheNetworkAsOftenAsThePlainSampler) {
  const Measurement measurement{torch::full({kCount, 1, 1, 1}, 0.6, kDouble),
                                diffusion::downsampling(2)};
  for (const MethodEntry& method : methods()) {
    if (method.remembers) continue;
    int64_t calls = 0;
    run(config_of(method.name, 20), &measurement, 0.1, &calls);
    EXPECT_EQ(calls, 20) << method.name;
  }
}

}  // namespace
}  // namespace ddpm::sample
