#include "ddpm/diffusion/schedule.h"
#include "ddpm/train/train_step.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::train {
namespace {

StepSettings of_50_timesteps() {
  diffusion::DiffusionConfig config;
  config.schedule.timesteps = 50;
  StepSettings s{diffusion::Diffusion(config)};
  s.seed = 7;
  return s;
}

// Each t is uniform, whatever the drawing; what differs is the batch.
TEST(DrawTimesteps, TimestepsAreUniformForEveryDrawing) {
  StepSettings s = of_50_timesteps();  // T = 50
  s.batch_size = 20;
  const torch::Tensor ids = torch::arange(100'000);
  for (const auto drawing :
       {TimestepDrawing::kUniform, TimestepDrawing::kAntithetic, TimestepDrawing::kStratified}) {
    s.timesteps = drawing;
    const torch::Tensor counts = draw_timesteps(s, ids).bincount({}, 51);
    EXPECT_EQ(counts[0].item<int64_t>(), 0);
    // 2,000 of each t, with a deviation of 44; antithetic pairs: 63.
    EXPECT_LT((counts.narrow(0, 1, 50) - 2000).abs().max().item<int64_t>(), 5 * 63)
        << config::to_string(drawing);
    // A part of a batch has the same t.
    EXPECT_TRUE(torch::equal(draw_timesteps(s, ids.narrow(0, 37, 11)),
                             draw_timesteps(s, ids).narrow(0, 37, 11)));
  }
}

// Karras 2022, Table 1: ln(sigma) ~ N(-1.2, 1.2^2).
TEST(DrawTimesteps, LogNormalTimestepsHaveThatLaw) {
  constexpr int64_t kCount = 40000;
  for (const auto kind : {diffusion::ScheduleKind::kEdm, diffusion::ScheduleKind::kFlow}) {
    const diffusion::Schedule schedule({.kind = kind});
    StepSettings s{diffusion::Diffusion(schedule, diffusion::Prediction::kV)};
    s.timesteps = TimestepDrawing::kLogNormal;
    s.log_normal = {-1.2, 1.2, diffusion::log_sigma_bounds(schedule)};
    const torch::Tensor t = draw_timesteps(s, torch::arange(kCount));
    EXPECT_GE(t.min().item<int64_t>(), 1);
    EXPECT_LE(t.max().item<int64_t>(), 1000);
    torch::Tensor log_sigma = torch::empty({kCount}, torch::kDouble);
    for (int64_t i = 0; i < kCount; ++i)
      log_sigma[i] = -diffusion::half_log_snr(schedule, t[i].item<int64_t>());
    // Standard errors 0.006 and 0.004; flow's first t is ln(sigma) = -6.9, and edm's first t -6.2.
    EXPECT_NEAR(log_sigma.mean().item<double>(), -1.2, 0.025);
    EXPECT_NEAR(log_sigma.std().item<double>(), 1.2, 0.02);
    // P(z < -1), P(z < 1.5)
    EXPECT_NEAR((log_sigma < -2.4).to(torch::kDouble).mean().item<double>(), 0.1587, 0.01);
    EXPECT_NEAR((log_sigma < 0.6).to(torch::kDouble).mean().item<double>(), 0.9332, 0.006);
    EXPECT_TRUE(torch::equal(draw_timesteps(s, torch::arange(100, 200)), t.slice(0, 100, 200)))
        << "a function of the sample alone";
  }
}

TEST(DrawTimesteps, AntitheticTimestepsAreMirroredInPairs) {
  StepSettings s = of_50_timesteps();
  s.timesteps = TimestepDrawing::kAntithetic;
  const torch::Tensor t = draw_timesteps(s, torch::arange(1000)).view({500, 2});
  EXPECT_TRUE(torch::equal(t.sum(1), torch::full({500}, 51, torch::kLong)));
}

// One in each of the N parts of 1..T; the mean over the batch of any function has less variance.
TEST(DrawTimesteps, StratifiedTimestepsFallInEveryPart) {
  StepSettings s = of_50_timesteps();
  s.timesteps = TimestepDrawing::kStratified;
  s.batch_size = 10;  // parts of five timesteps
  const torch::Tensor part =
      (draw_timesteps(s, torch::arange(1000)).view({100, 10}) - 1).div(5, "floor");
  EXPECT_TRUE(torch::equal(part, torch::arange(10).expand({100, 10})));
  const auto variance_of_mean = [&](TimestepDrawing drawing) {
    s.timesteps = drawing;
    const torch::Tensor loss = 1.0 / draw_timesteps(s, torch::arange(10'000)).to(torch::kDouble);
    return loss.view({1000, 10}).mean(1).var().item<double>();
  };
  EXPECT_LT(variance_of_mean(TimestepDrawing::kStratified),
            0.7 * variance_of_mean(TimestepDrawing::kUniform));
  // Batches that T does not divide into.
  s.batch_size = 7;
  const torch::Tensor t = draw_timesteps(s, torch::arange(7000));
  EXPECT_EQ(t.min().item<int64_t>(), 1);
  EXPECT_EQ(t.max().item<int64_t>(), 50);
}

}  // namespace
}  // namespace ddpm::train
