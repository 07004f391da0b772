#include "ddpm/sample/latent.h"

#include "ddpm/sample/reverse_process.h"
#include "tests/sample/exact_denoiser.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

constexpr double kVariance = 0.25;

SampleConfig ddim(int64_t steps) {
  SampleConfig config;
  config.method = kDdim;
  config.steps = steps;
  config.clip = Clip::kNone;
  config.spacing = Spacing::kTrailing;
  return config;
}

// The flow of N(0, c) scales: x_T = x_0 sqrt(V(T) / V(0)), V(t) = alpha_bar c + 1 - alpha_bar.
TEST(Encode, ApproachesTheExactNoiseAsOneOverS) {
  const diffusion::Diffusion diffusion(
      diffusion::Schedule({.timesteps = 4000, .beta_start = 2.5e-5, .beta_end = 5e-3}),
      diffusion::Prediction::kEpsilon);
  const auto network = gaussian_denoiser(diffusion.schedule(), 0.0, kVariance);
  const torch::Tensor x0 = torch::linspace(-1, 1, 16, torch::kDouble).view({1, 1, 4, 4});
  const double a2 = diffusion.schedule().alpha_bar(4000);
  const torch::Tensor exact = x0 * std::sqrt((a2 * kVariance + 1 - a2) / kVariance);
  const auto error = [&](int64_t steps) {
    return (encode(network, diffusion, ddim(steps), x0) - exact).abs().max().item<double>();
  };
  EXPECT_LT(error(1000), 0.02);
  EXPECT_NEAR(error(500) / error(1000), 2.0, 0.2);
}

TEST(Encode, DecodingGivesTheImageBack) {
  const diffusion::Diffusion diffusion(diffusion::Schedule(diffusion::ScheduleConfig{}),
                                       diffusion::Prediction::kV);
  const auto network = gaussian_denoiser(diffusion.schedule(), 0.2, 0.1, diffusion::Prediction::kV);
  const torch::Tensor x0 = torch::linspace(-1, 1, 32, torch::kDouble).view({2, 1, 4, 4});
  const auto error = [&](int64_t steps) {
    const torch::Tensor x_T = encode(network, diffusion, ddim(steps), x0);
    const torch::Tensor back =
        *ReverseProcess(diffusion, ddim(steps)).run(network, x_T, [&](int64_t, int64_t) {
          return x_T;
        });
    return (back - x0).abs().max().item<double>();
  };
  EXPECT_LT(error(500), 0.03);
  EXPECT_LT(error(500), 0.6 * error(250));
}

TEST(Slerp, GoesFromOneToTheOtherOnTheSphere) {
  torch::manual_seed(5);
  const torch::Tensor a = torch::randn({2, 3, 8, 8}, torch::kDouble);
  const torch::Tensor b = torch::randn({2, 3, 8, 8}, torch::kDouble);
  EXPECT_TRUE(torch::allclose(slerp(a, b, 0.0), a, 1e-12, 1e-12));
  EXPECT_TRUE(torch::allclose(slerp(a, b, 1.0), b, 1e-12, 1e-12));
  // Between unit vectors the path is at constant speed: half the angle from either end.
  const torch::Tensor u = a / a.flatten(1).norm(2, 1).view({2, 1, 1, 1});
  const torch::Tensor v = b / b.flatten(1).norm(2, 1).view({2, 1, 1, 1});
  const torch::Tensor middle = slerp(u, v, 0.5);
  EXPECT_TRUE(torch::allclose(middle.flatten(1).norm(2, 1), torch::ones({2}, torch::kDouble), 1e-12,
                              1e-12));
  const torch::Tensor half = torch::acos((u * v).flatten(1).sum(1)) / 2;
  EXPECT_TRUE(torch::allclose(torch::acos((u * middle).flatten(1).sum(1)), half, 1e-9, 1e-9));
  EXPECT_TRUE(torch::allclose(slerp(a, 2 * a, 0.5), 1.5 * a, 1e-12, 1e-12)) << "parallel";
}

}  // namespace
}  // namespace ddpm::sample
