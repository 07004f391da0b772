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
  const auto estimate = clipped(Clip::kClip, {x, x}, schedule, x, 10, 0.5);
  EXPECT_TRUE(torch::equal(estimate.x0, x.clamp(-0.5, 0.5)));
  EXPECT_TRUE(torch::equal(estimate.eps, x));
}

}  // namespace
}  // namespace ddpm::sample
