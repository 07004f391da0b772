// The mean brightness of samples, with and without zero terminal SNR (docs/math.md, "Schedules").

#include "ddpm/sample/reverse_process.h"
#include "tests/sample/exact_denoiser.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample::brightness_test {
namespace {

// Images of N pixels that have one random brightness of mean mu and deviation s vary along one
// direction alone: there they are N(sqrt(N) mu, N s^2). Here N = 64, mu = 0.5, s = 0.5.
constexpr double kMean = 4.0, kVariance = 16.0;

// The mean of the samples: the chain is linear, so that of x_T = 0.
double mean_of_samples(const diffusion::ScheduleConfig& config) {
  const diffusion::Schedule schedule(config);
  SampleConfig sampling;
  sampling.method = kDdim;
  sampling.clip = Clip::kNone;
  const ReverseProcess process(diffusion::Diffusion(schedule, diffusion::Prediction::kV), sampling);
  const auto network = gaussian_denoiser(schedule, kMean, kVariance, diffusion::Prediction::kV);
  return process.run(network, torch::zeros({1, 1, 1, 1}, torch::kDouble), {})->item<double>();
}

TEST(Brightness, IsRightOnlyWithZeroTerminalSnr) {
  // Stable Diffusion's betas, which leave much of the image at T.
  diffusion::ScheduleConfig config{
      .kind = diffusion::ScheduleKind::kQuadratic, .beta_start = 0.00085, .beta_end = 0.012};
  const double signal = diffusion::Schedule(config).alpha_bar(config.timesteps);
  // The exact flow keeps the distance from the mean in units of the deviation; x_T = 0 is
  // sqrt(alpha_bar_T) kMean below the mean at T.
  const double at_last = signal * kVariance + 1 - signal;
  const double expected = kMean * (1 - std::sqrt(signal * kVariance / at_last));
  EXPECT_LT(expected, 0.75 * kMean);
  EXPECT_NEAR(mean_of_samples(config), expected,
              0.02 * kMean);  // 1000 steps: an error of order 1/S
  config.zero_terminal_snr = true;
  EXPECT_NEAR(mean_of_samples(config), kMean, 1e-9);
}

}  // namespace
}  // namespace ddpm::sample::brightness_test
