#include "ddpm/checkpoint/content.h"
#include "ddpm/nn/unet.h"
#include "ddpm/train/learner.h"
#include "tests/io/temporary_folder.h"
#include "tests/train/small_experiment.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/utils.h>

namespace ddpm::train {
namespace {

constexpr int64_t kTimesteps = 4;

Experiment importance_experiment(std::vector<std::string> changes = {}) {
  changes.insert(changes.end(), {"train.t_sampling=\"loss_second_moment\"", "diffusion.timesteps=4",
                                 "train.batch_size=20"});
  return small_experiment(changes);
}

// One step per batch, from the first.
void take_steps(Learner& learner, const Experiment& experiment, int64_t first, int64_t last) {
  const auto dataset = data::open_dataset(experiment.data, 0);
  data::Loader loader(*dataset, loader_options(experiment));
  if (first > 1) loader.seek(first - 1);
  for (int64_t step = first; step <= last; ++step) learner.step_(loader.next(), step);
}

torch::Tensor extra(const checkpoint::TrainingTensors& tensors, const std::string& name) {
  for (const io::NamedTensor& n : tensors.extras) {
    if (n.name == name) return n.tensor;
  }
  ADD_FAILURE() << "no extra " << name;
  return torch::zeros({1});
}

void expect_same_state(const Learner& a, const Learner& b) {
  const checkpoint::TrainingTensors of_a = a.snapshot(), of_b = b.snapshot();
  for (size_t i = 0; i < of_a.weights.size(); ++i)
    EXPECT_TRUE(of_a.weights[i].equal(of_b.weights[i])) << "weight " << i;
  ASSERT_EQ(of_a.extras.size(), of_b.extras.size());
  for (size_t i = 0; i < of_a.extras.size(); ++i)
    EXPECT_TRUE(of_a.extras[i].tensor.equal(of_b.extras[i].tensor)) << of_a.extras[i].name;
}

TEST(Importance, TimestepsAreUniformUntilTheHistoryIsFull) {
  const Experiment importance = importance_experiment();
  const Experiment uniform = small_experiment({"diffusion.timesteps=4", "train.batch_size=20"});
  Learner a(importance, torch::kCPU), b(uniform, torch::kCPU);
  take_steps(a, importance, 1, 1);
  take_steps(b, uniform, 1, 1);
  for (size_t i = 0; i < a.unet()->parameters().size(); ++i)
    EXPECT_TRUE(a.unet()->parameters()[i].equal(b.unet()->parameters()[i])) << i;
  take_steps(a, importance, 2, 8);
  const checkpoint::TrainingTensors full = a.snapshot();
  EXPECT_EQ(extra(full, "t_history.counts").sum().item<int64_t>(), 160);
  EXPECT_GE(extra(full, "t_history.counts").min().item<int64_t>(), 10);
  const torch::Tensor ids = torch::arange(1000, 3000);
  EXPECT_FALSE(torch::equal(draw_timesteps(a.settings(), ids), draw_timesteps(b.settings(), ids)));
}

TEST(Importance, DrawsTimestepsWithTheDensityOfTheHistory) {
  StepSettings settings{
      diffusion::Diffusion(diffusion::Schedule({.timesteps = 3}), diffusion::Prediction::kEpsilon)};
  settings.seed = 11;
  settings.timesteps = TimestepDrawing::kLossSecondMoment;
  const auto history = std::make_shared<TimestepHistory>(3, torch::kCPU);
  for (int64_t i = 0; i < 10; ++i)
    history->add_(torch::tensor({1, 2, 3}), torch::tensor({1.0, 2.0, 7.0}));
  settings.history = history;
  constexpr int64_t kCount = 100'000;
  const torch::Tensor counts = draw_timesteps(settings, torch::arange(kCount)).bincount({}, 4);
  EXPECT_EQ(counts[0].item<int64_t>(), 0);
  for (int64_t t = 1; t <= 3; ++t) {
    const double p = 0.999 * std::vector{0.1, 0.2, 0.7}[static_cast<size_t>(t - 1)] + 0.001 / 3;
    const double deviation = std::sqrt(kCount * p * (1 - p));
    EXPECT_NEAR(counts[t].item<double>(), kCount * p, 5 * deviation) << t;
  }
}

// With the loss weight 1 / weight, the gradient is that of the plain mean over the drawn t.
TEST(Importance, TheGradientHasTheWeightsOfTheTimesteps) {
  const Experiment experiment = importance_experiment({"model.dropout=0.0"});
  Learner learner(experiment, torch::kCPU);
  take_steps(learner, experiment, 1, 8);
  nn::UNet unet = learner.unet();
  StepSettings settings = learner.settings();
  const auto history = settings.history;
  settings.diffusion =
      diffusion::Diffusion(settings.diffusion.schedule(), diffusion::Prediction::kEpsilon,
                           [history](const torch::Tensor& t) { return 1.0 / history->weight(t); });
  const auto dataset = data::open_dataset(experiment.data, 0);
  const data::Batch batch = data::Loader(*dataset, loader_options(experiment)).next();

  unet->zero_grad();
  const StepLosses losses = accumulate_gradient(*unet, settings, batch, 1.0);
  std::vector<torch::Tensor> found;
  for (const torch::Tensor& p : unet->parameters()) found.push_back(p.grad().clone());
  unet->zero_grad();
  const StepLosses plain = unweighted_losses(*unet, settings, batch);
  plain.per_sample.mean().backward();
  EXPECT_GT((losses.weight - 1).abs().max().item<double>(), 0.01) << "nothing to see";
  for (size_t i = 0; i < found.size(); ++i) {
    // float32, summed over up to 20 * 64 numbers.
    EXPECT_TRUE(torch::allclose(found[i], unet->parameters()[i].grad(), 1e-4, 1e-6)) << i;
  }
  // The history takes the weighted loss, here loss / weight.
  EXPECT_TRUE(torch::allclose(losses.objective.to(torch::kDouble),
                              plain.per_sample.to(torch::kDouble) / losses.weight, 1e-5, 0.0));
}

TEST(Importance, TheLoggedLossIsThatOfUniformTimesteps) {
  MetricsAccumulator metrics(torch::kCPU, 4);
  StepLosses losses{torch::tensor({8.0, 1.0, double{NAN}}), torch::tensor({4, 1, 2})};
  losses.weight = torch::tensor({0.25, 1.75, 1.0}, torch::kDouble);
  metrics.add_losses(losses);
  const MetricsReading reading = metrics.read();
  EXPECT_DOUBLE_EQ(reading.loss, (0.25 * 8 + 1.75 * 1) / 2);
  EXPECT_DOUBLE_EQ(reading.loss_by_quartile[3], 8.0);
}

TEST(Importance, TheHistoryDoesNotDependOnRounds) {
  std::vector<checkpoint::TrainingTensors> all;
  for (const char* rounds : {"train.accumulate=1", "train.accumulate=2", "train.accumulate=5"}) {
    const Experiment experiment = importance_experiment({"model.dropout=0.0", rounds});
    Learner learner(experiment, torch::kCPU);
    take_steps(learner, experiment, 1, 6);
    all.push_back(learner.snapshot());
  }
  for (const checkpoint::TrainingTensors& other : all) {
    EXPECT_TRUE(extra(other, "t_history.counts").equal(extra(all[0], "t_history.counts")));
    // Sums of gradients in another order move the weights by rounding.
    EXPECT_TRUE(torch::allclose(extra(other, "t_history.losses"), extra(all[0], "t_history.losses"),
                                1e-3, 1e-6));
  }
}

TEST(Importance, TakesTheTermsOfTheBound) {
  const Experiment experiment = importance_experiment({"train.loss=\"vlb\""});
  Learner learner(experiment, torch::kCPU);
  const auto dataset = data::open_dataset(experiment.data, 0);
  const data::Batch batch = data::Loader(*dataset, loader_options(experiment)).next();
  const StepLosses losses = accumulate_gradient(*learner.unet(), learner.settings(), batch, 1.0);
  // At t = 1, T times the bits of the decoder; L_simple is about 1.
  const torch::Tensor first = losses.objective.index({losses.t == 1});
  ASSERT_GT(first.numel(), 0);
  EXPECT_GT(first.min().item<double>(), 5.0);
}

class RestoredTraining : public testing::TestWithParam<std::vector<std::string>> {};

// Through the files of a checkpoint.
TEST_P(RestoredTraining, GoesOnBitForBit) {
  const Experiment experiment = importance_experiment(GetParam());
  Learner whole(experiment, torch::kCPU), half(experiment, torch::kCPU);
  take_steps(whole, experiment, 1, 12);
  take_steps(half, experiment, 1, 7);

  const TemporaryFolder folder;
  checkpoint::CheckpointStore store(folder / "checkpoints", {});
  checkpoint::TrainingState state;
  state.step = 7;
  state.ema_decays = experiment.ema.decays;
  const auto path = checkpoint::write_checkpoint(
      store, checkpoint::checkpoint_content(*half.unet(), half.snapshot(), state, "", ""));
  Learner again(experiment, torch::kCPU);
  const checkpoint::TrainingTensors tensors = again.empty_tensors();
  checkpoint::read_checkpoint(path, *again.unet(), experiment.ema, tensors);
  again.restore_(tensors);
  expect_same_state(again, half);
  take_steps(again, experiment, 8, 12);
  expect_same_state(again, whole);
}

INSTANTIATE_TEST_SUITE_P(All, RestoredTraining,
                         testing::Values(std::vector<std::string>{},
                                         std::vector<std::string>{"train.loss_weight=\"learned\""},
                                         std::vector<std::string>{"train.noise_scale_every=3"}));

// What a checkpoint lacks begins anew; what a run no longer needs is left alone.
TEST(Importance, ARunMayBeginAndEndInTheMiddle) {
  const Experiment with = importance_experiment();
  const Experiment without = small_experiment({"diffusion.timesteps=4", "train.batch_size=20"});
  const TemporaryFolder folder;
  const auto passed = [&](const Experiment& from, const Experiment& to) {
    Learner before(from, torch::kCPU), after(to, torch::kCPU);
    take_steps(before, from, 1, 8);
    checkpoint::CheckpointStore store(folder / config::to_string(from.train.t_sampling), {});
    checkpoint::TrainingState state;
    state.step = 8;
    state.ema_decays = from.ema.decays;
    const auto path = checkpoint::write_checkpoint(
        store, checkpoint::checkpoint_content(*before.unet(), before.snapshot(), state, "", ""));
    const checkpoint::TrainingTensors tensors = after.empty_tensors();
    checkpoint::read_checkpoint(path, *after.unet(), to.ema, tensors);
    after.restore_(tensors);
    EXPECT_EQ(std::filesystem::exists(path / "training.safetensors"),
              before.settings().history != nullptr);
    return after.snapshot();
  };
  EXPECT_EQ(extra(passed(without, with), "t_history.counts").sum().item<int64_t>(), 0);
  EXPECT_TRUE(passed(with, without).extras.empty());
}

}  // namespace
}  // namespace ddpm::train
