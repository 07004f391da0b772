#include "ddpm/train/holdout.h"
#include "ddpm/train/learner.h"
#include "ddpm/train/metrics.h"
#include "tests/train/small_experiment.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>
#include <torch/utils.h>

namespace ddpm::train {
namespace {

// A chain whose log SNR is 9, 7, 5, ..., -9 at t = 1..10.
diffusion::ScheduleConfig even_chain() {
  diffusion::ScheduleConfig config;
  config.kind = diffusion::ScheduleKind::kTable;
  config.timesteps = 10;
  double before = 1.0;
  for (int64_t t = 1; t <= 10; ++t) {
    const double alpha_bar = 1 / (1 + std::exp(static_cast<double>(2 * t - 11)));
    config.betas.push_back(1 - alpha_bar / before);
    before = alpha_bar;
  }
  return config;
}

TEST(LossBins, AreEvenInTheLogarithmOfTheRatio) {
  LossBins bins(diffusion::Schedule(even_chain()), 3, torch::kCPU);
  // Ranges -9..-3, -3..3 and 3..9: t = 10, 9, 8 | 7 (-3), 6, 5 | 4 (3), 3, 2, 1. A log SNR on an
  // edge may fall on either side by rounding, so t = 4 and 7 are left out.
  bins.add_({torch::tensor({1.0, 3.0}), torch::tensor({10, 8})});
  bins.add_({torch::tensor({5.0, 6.0, 10.0}), torch::tensor({5, 6, 1})});
  const auto found = bins.read();
  ASSERT_EQ(found.size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(found[i].log_snr, -6.0 + 6.0 * i, 1e-9);
  EXPECT_DOUBLE_EQ(found[0].loss, 2.0);
  EXPECT_DOUBLE_EQ(found[1].loss, 5.5);
  EXPECT_DOUBLE_EQ(found[2].loss, 10.0);
  for (const LossBin& bin : bins.read()) EXPECT_TRUE(std::isnan(bin.loss)) << "read once";
}

TEST(LossBins, EveryTimestepIsInTheRangeOfItsRatio) {
  for (const bool zero : {false, true}) {
    const diffusion::Schedule schedule(
        {.kind = diffusion::ScheduleKind::kCosine, .timesteps = 100, .zero_terminal_snr = zero});
    LossBins bins(schedule, 7, torch::kCPU);
    for (int64_t t = 1; t <= 100; ++t) {
      bins.add_({torch::tensor({2.0}), torch::tensor({t})});
      const auto found = bins.read();
      const double half = (found[1].log_snr - found[0].log_snr) / 2;
      const double log_snr = schedule.snr(t) > 0 ? std::log(schedule.snr(t)) : found[0].log_snr;
      int64_t in = 0;
      for (const LossBin& bin : found) {
        if (std::isnan(bin.loss)) continue;
        ++in;
        EXPECT_NEAR(bin.log_snr, log_snr, half + 1e-9) << t;
      }
      EXPECT_EQ(in, 1) << t;
    }
  }
}

TEST(LossBins, OfOneTimestepAreOneValue) {
  for (const double beta : {0.5, 1.0}) {
    LossBins bins(diffusion::Schedule(
                      {.kind = diffusion::ScheduleKind::kTable, .timesteps = 1, .betas = {beta}}),
                  2, torch::kCPU);
    bins.add_({torch::tensor({2.0}), torch::tensor({1})});
    const auto found = bins.read();
    EXPECT_EQ(found[0].loss, 2.0);
    EXPECT_TRUE(std::isfinite(found[0].log_snr));
  }
}

TEST(LossBins, WeighAsTheMeanDoes) {
  LossBins bins(diffusion::Schedule(even_chain()), 1, torch::kCPU);
  StepLosses losses{torch::tensor({8.0, 1.0, double{NAN}}), torch::tensor({4, 1, 2})};
  losses.weight = torch::tensor({0.25, 1.75, 1.0}, torch::kDouble);
  bins.add_(losses);
  EXPECT_DOUBLE_EQ(bins.read()[0].loss, (0.25 * 8 + 1.75 * 1) / 2);
}

TEST(LossBins, OfTrainingAndOfTheHoldoutAddUpToTheirLoss) {
  const Experiment experiment = small_experiment({"train.loss_bins=1"});
  Learner learner(experiment, torch::kCPU);
  const data::Split split = data::hold_out(
      std::shared_ptr<const data::Dataset>(data::open_dataset(experiment.data, 0)), 10, 0);
  data::Loader loader(*split.training, loader_options(experiment));
  for (int64_t step = 1; step <= 3; ++step) learner.step_(loader.next(), step);
  const double loss = learner.metrics().peek().loss;
  EXPECT_NEAR(learner.read_loss_bins()[0].loss, loss, 1e-12);
  LossBins bins(learner.settings().diffusion.schedule(), 1, torch::kCPU);
  const Holdout holdout(*split.held_out, learner.settings(), 4);
  const double held_out = *holdout.loss(
      *learner.unet(), [] { return true; }, &bins);
  EXPECT_NEAR(bins.read()[0].loss, held_out, 1e-6 * held_out);  // a float32 sum on one side
  EXPECT_TRUE(Learner(small_experiment(), torch::kCPU).read_loss_bins().empty());
}

}  // namespace
}  // namespace ddpm::train
