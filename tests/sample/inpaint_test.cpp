#include "ddpm/sample/methods.h"
#include "ddpm/sample/restore.h"
#include "ddpm/sample/reverse_process.h"
#include "tests/sample/exact_denoiser.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

// Two pixels with the covariance [[0.25, 0.2], [0.2, 0.25]]; the left one is known.
class Inpaint : public testing::Test {
 protected:
  static constexpr double kKnown = 0.6, kCovariance = 0.2, kVariance = 0.25;
  static constexpr int64_t kCount = 4000;

  // The right pixel of many samples.
  torch::Tensor filled(int64_t rounds, const char* method = kDdpm) {
    const torch::Tensor covariance =
        torch::tensor({{kVariance, kCovariance}, {kCovariance, kVariance}}, torch::kDouble);
    const auto network =
        gaussian_denoiser(schedule_, torch::zeros({2}, torch::kDouble), covariance);
    const torch::Tensor known =
        torch::tensor({kKnown, 0.9}, torch::kDouble).view({1, 1, 1, 2}).expand({kCount, 1, 1, 2});
    const torch::Tensor unknown =
        torch::tensor({0.0, 1.0}, torch::kDouble).view({1, 1, 1, 2}).expand({kCount, 1, 1, 2});
    SampleConfig config;
    config.method = method;
    config.steps = 50;
    config.spacing = Spacing::kTrailing;
    config.clip = Clip::kNone;
    const auto make = [&] {
      return std::make_unique<InpaintSampler>(make_sampler(config, schedule_), schedule_, known,
                                              unknown, rounds);
    };
    torch::manual_seed(11);
    const torch::Tensor x_T = torch::randn({kCount, 1, 1, 2}, torch::kDouble);
    const torch::Tensor images =
        *ReverseProcess(diffusion::Diffusion(schedule_, diffusion::Prediction::kEpsilon), config,
                        make)
             .run(network, x_T, [&](int64_t, int64_t) { return torch::randn_like(x_T); });
    EXPECT_TRUE(torch::equal(images.select(3, 0), known.select(3, 0))) << "known pixels stay";
    return images.select(3, 1).flatten();
  }

  diffusion::Schedule schedule_{diffusion::ScheduleConfig{}};
};

// p(right | left) = N(0.8 left, 0.25 - 0.16): mean 0.48, deviation 0.3.
TEST_F(Inpaint, ResamplingApproachesTheConditionalMean) {
  const double truth = kCovariance / kVariance * kKnown;
  const auto bias = [&](const torch::Tensor& x) { return truth - x.mean().item<double>(); };
  const double once = bias(filled(1)), often = bias(filled(20));
  EXPECT_GT(once, 0.03) << "without resampling the parts are not in harmony";
  EXPECT_LT(std::abs(often), 0.5 * once);
  EXPECT_NEAR(filled(20).std().item<double>(), 0.3, 0.06);
}

TEST_F(Inpaint, WorksWithoutNoiseOfTheSamplersOwn) {
  const torch::Tensor x = filled(5, kDdim);
  EXPECT_TRUE(x.isfinite().all().item<bool>());
  EXPECT_GT(x.mean().item<double>(), 0.1);
}

}  // namespace
}  // namespace ddpm::sample
