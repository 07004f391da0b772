#include "ddpm/sample/clip.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

struct Case {
  diffusion::Schedule schedule{diffusion::ScheduleConfig{}};
  int64_t t = 700;
  diffusion::Estimate estimate{torch::tensor({-3.0, -1.0, 0.25, 2.0}, torch::kFloat64).view({1, 4}),
                               torch::tensor({0.5, 1.0, -1.0, 2.0}, torch::kFloat64).view({1, 4})};
  torch::Tensor x_t = mix(estimate);
  torch::Tensor clamped = torch::tensor({-1.0, -1.0, 0.25, 1.0}, torch::kFloat64).view({1, 4});

  torch::Tensor mix(const diffusion::Estimate& e) const {
    return diffusion::Diffusion(schedule, diffusion::Prediction::kX0)
        .noised(e.x0, torch::tensor({t}, torch::kInt64), e.eps);
  }
  diffusion::Estimate result(Clip clip) const { return clipped(clip, estimate, schedule, x_t, t); }
};

TEST(Clip, NoneChangesNothing) {
  const Case c;
  EXPECT_TRUE(torch::equal(c.result(Clip::kNone).x0, c.estimate.x0));
  EXPECT_TRUE(torch::equal(c.result(Clip::kNone).eps, c.estimate.eps));
}

TEST(Clip, ClipClampsX0AndKeepsEps) {
  const Case c;
  EXPECT_TRUE(torch::equal(c.result(Clip::kClip).x0, c.clamped));
  EXPECT_TRUE(torch::equal(c.result(Clip::kClip).eps, c.estimate.eps));
}

TEST(Clip, RederiveKeepsTheTwoHalvesOfXt) {
  const Case c;
  const auto got = c.result(Clip::kRederive);
  EXPECT_TRUE(torch::equal(got.x0, c.clamped));
  EXPECT_TRUE(torch::allclose(c.mix(got), c.x_t, 1e-14, 1e-14));
  EXPECT_FALSE(torch::allclose(got.eps, c.estimate.eps));
}

TEST(Clip, TheRangeMayBeAnother) {
  const diffusion::Schedule schedule({});
  const torch::Tensor x = torch::linspace(-2, 2, 9);
  const auto estimate = clipped(Clip::kClip, {x, x}, schedule, x, 10, {.range = 0.5});
  EXPECT_TRUE(torch::equal(estimate.x0, x.clamp(-0.5, 0.5)));
  EXPECT_TRUE(torch::equal(estimate.eps, x));
}

// Saharia 2022, Sec. 2.3. The quantiles of two images of five pixels, by hand.
TEST(Clip, DynamicThresholdScalesEachImageByItsOwnQuantile) {
  const diffusion::Schedule schedule({});
  const torch::Tensor x0 =
      torch::tensor({-4.0, 1.0, 2.0, 3.0, 0.0, 0.1, -0.2, 0.3, 0.4, 9.0}, torch::kDouble)
          .view({2, 5});
  const auto of = [&](const ClipBound& bound) {
    return clipped(Clip::kClip, {x0, x0}, schedule, x0, 10, bound).x0;
  };
  // |x0| sorted: 0 1 2 3 4; 0.1 0.2 0.3 0.4 9. The quantile 0.7 is at rank 2.8: 2.8 and 0.38.
  const torch::Tensor expected =
      torch::tensor({-1.0, 1 / 2.8, 2 / 2.8, 1.0, 0.0, 0.1, -0.2, 0.3, 0.4, 1.0}, torch::kDouble)
          .view({2, 5});
  EXPECT_TRUE(torch::allclose(of({.quantile = 0.7}), expected, 1e-14, 1e-14));
  // At most 2, which clamps as well.
  EXPECT_TRUE(
      torch::allclose(of({.quantile = 0.7, .max = 2.0})[0], x0[0].clamp(-2, 2) / 2, 1e-14, 0));
  EXPECT_TRUE(torch::equal(of({.quantile = 0.7, .max = 1.0}), x0.clamp(-1, 1)));
  // The largest value of an image is the quantile 1.
  EXPECT_TRUE(torch::allclose(of({.quantile = 1.0}),
                              x0 / torch::tensor({4.0, 9.0}, torch::kDouble).view({2, 1}), 1e-14,
                              0));
}

TEST(Clip, DynamicThresholdKeepsImagesWithinTheRangeBitForBit) {
  const diffusion::Schedule schedule({});
  const torch::Tensor x0 = torch::linspace(-1, 1, 96, torch::kFloat).view({2, 3, 4, 4});
  const torch::Tensor x = x0 * 0.3 + 0.1;
  for (const double quantile : {0.5, 0.995, 1.0}) {
    const auto estimate = clipped(Clip::kClip, {x0, x}, schedule, x, 10, {.quantile = quantile});
    EXPECT_TRUE(torch::equal(estimate.x0, x0)) << quantile;
    EXPECT_TRUE(torch::equal(estimate.eps, x));
  }
}

TEST(Clip, DynamicThresholdCanRederiveEps) {
  const Case c;
  const auto got = clipped(Clip::kRederive, c.estimate, c.schedule, c.x_t, c.t, {.quantile = 0.5});
  EXPECT_TRUE(torch::allclose(c.mix(got), c.x_t, 1e-14, 1e-14));
}

}  // namespace
}  // namespace ddpm::sample
