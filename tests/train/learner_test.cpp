#include "ddpm/train/learner.h"

#include "ddpm/train/dry_run.h"
#include "ddpm/train/holdout.h"
#include "src/data/procedural.h"
#include "tests/train/small_experiment.h"

#include <ATen/Context.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

namespace ddpm::train {
namespace {

std::vector<torch::Tensor> weights(const Learner& learner) { return learner.unet()->parameters(); }

bool all_equal(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!a[i].equal(b[i])) return false;
  }
  return a.size() == b.size();
}

TEST(Learner, AStepIsAFunctionOfBatchSeedAndStep) {
  const Experiment experiment = small_experiment();
  const auto dataset = data::open_dataset(experiment.data, 0);
  data::Loader loader(*dataset, loader_options(experiment));
  const data::Batch batch = loader.next();
  Learner a(experiment, torch::kCPU), b(experiment, torch::kCPU), c(experiment, torch::kCPU);
  a.step_(batch, 7);
  torch::manual_seed(123);  // torch's own generator must not matter
  b.step_(batch, 7);
  c.step_(batch, 8);
  EXPECT_TRUE(all_equal(weights(a), weights(b)));
  EXPECT_FALSE(all_equal(weights(a), weights(c))) << "dropout should differ between steps";
}

TEST(Learner, ComputesAsTheConfigSaysWhileItLives) {
  const at::Context& context = at::globalContext();
  const auto dataset = data::open_dataset(small_experiment().data, 0);
  const auto trained = [&](std::vector<std::string> changes, bool deterministic) {
    changes.push_back("train.steps=1000000");  // they repay cuDNN's search
    const Experiment experiment = small_experiment(changes);
    data::Loader loader(*dataset, loader_options(experiment));
    Learner learner(experiment, torch::kCPU);
    for (int64_t step = 1; step <= 3; ++step) learner.step_(loader.next(), step);
    EXPECT_EQ(context.deterministicAlgorithms(), deterministic);
    EXPECT_EQ(context.deterministicCuDNN(), deterministic);
    EXPECT_EQ(context.benchmarkCuDNN(), !deterministic);
    return learner.snapshot().weights;
  };
  const auto once = trained({"train.deterministic=true"}, true);
  EXPECT_FALSE(context.deterministicAlgorithms());
  EXPECT_FALSE(context.benchmarkCuDNN());
  EXPECT_TRUE(all_equal(once, trained({"train.deterministic=true"}, true)));
  EXPECT_TRUE(all_equal(once, trained({}, false))) << "on the CPU it is all the same";
  EXPECT_TRUE(all_equal(once, trained({"train.precision=\"tf32\""}, false)));
  EXPECT_THROW(small_experiment({"train.deterministic=true", "train.precision=\"tf32\""}),
               ConfigError);
}

TEST(Holdout, IsTheSameNumberEveryTimeAndWhateverTheBatch) {
  const Experiment experiment = small_experiment();
  const auto dataset = data::open_dataset(experiment.data, 0);
  const data::Split split = data::hold_out(
      std::shared_ptr<const data::Dataset>(data::open_dataset(experiment.data, 0)), 10, 0);
  Learner learner(experiment, torch::kCPU);
  nn::UNet unet = learner.unet();
  {  // the zeroed last convolution would make every prediction 0
    const torch::NoGradGuard no_grad;
    for (torch::Tensor p : unet->parameters()) p += 0.05 * torch::ones_like(p);
  }
  const double loss = *Holdout(*split.held_out, learner.settings(), 4).loss(*unet);
  EXPECT_EQ(Holdout(*split.held_out, learner.settings(), 4).loss(*unet), loss);
  EXPECT_NEAR(*Holdout(*split.held_out, learner.settings(), 7).loss(*unet), loss, 1e-5 * loss)
      << "the batch size changes the order of a float32 sum at most";
  EXPECT_TRUE(unet->is_training()) << "the mode is put back";
  EXPECT_EQ(Holdout(*split.held_out, learner.settings(), 4).loss(*unet), loss)
      << "dropout must be off";
}

TEST(Holdout, OfAnUntrainedNetworkIsTheVarianceOfTheNoise) {
  // Ho's initialisation predicts eps = 0, so that the loss is mean(eps^2): 1 within 4 standard
  // errors sqrt(2 / n) over n = 30 * 64 numbers.
  const Experiment experiment = small_experiment();
  const data::Split split = data::hold_out(
      std::shared_ptr<const data::Dataset>(data::open_dataset(experiment.data, 0)), 30, 0);
  Learner learner(experiment, torch::kCPU);
  const double loss = *Holdout(*split.held_out, learner.settings(), 8).loss(*learner.unet());
  EXPECT_NEAR(loss, 1.0, 4.0 * std::sqrt(2.0 / (30 * 64)));
}

TEST(DryRun, MeasuresStepsAndCountsBytes) {
  const Experiment experiment = small_experiment();
  const auto dataset = data::open_dataset(experiment.data, 0);
  const DryRunReport report = dry_run(experiment, *dataset, torch::kCPU, {}, 3);
  EXPECT_EQ(report.timed_steps, 3);
  EXPECT_GT(report.step_s, 0.0);
  EXPECT_GE(report.slowest_step_s, report.step_s);
  EXPECT_GT(report.memory_mib, 1.0);
  // Weights, two moments and two averages in float32.
  EXPECT_EQ(report.checkpoint_bytes, static_cast<uint64_t>(report.parameters) * 4 * 5);
  EXPECT_NEAR(predicted_seconds(report, experiment, 40), 60 * report.step_s, 1e-9);
}

TEST(DryRun, StopsAtItsBudget) {
  const Experiment experiment = small_experiment();
  const auto dataset = data::open_dataset(experiment.data, 0);
  EXPECT_EQ(dry_run(experiment, *dataset, torch::kCPU, {}, 1000, 0.0).timed_steps, 1);
}

TEST(MetricsAccumulator, PeekChangesNothingAndTheRowOfSkippedStepsGoesOn) {
  MetricsAccumulator metrics(torch::kCPU, 10);
  metrics.set_skipped_in_a_row(3);
  const UpdateInfo bad{torch::full({}, NAN), torch::ones({})};
  metrics.add_update(bad);
  EXPECT_EQ(metrics.peek().skipped, 1);
  EXPECT_EQ(metrics.peek().skipped_in_a_row, 4);
  EXPECT_EQ(metrics.read().skipped, 1);
  EXPECT_EQ(metrics.read().skipped, 0);
  EXPECT_EQ(metrics.read().skipped_in_a_row, 4);
  metrics.add_update({torch::ones({}), torch::zeros({})});
  EXPECT_EQ(metrics.read().skipped_in_a_row, 0);
}

}  // namespace
}  // namespace ddpm::train
