#include "ddpm/base/rng.h"
#include "ddpm/nn/ema.h"
#include "ddpm/train/learner.h"
#include "tests/base/tape_recorder.h"
#include "tests/train/small_experiment.h"

#include <algorithm>

#include <gtest/gtest.h>
#include <torch/cuda.h>
#include <torch/utils.h>

namespace ddpm::train {
namespace {

constexpr int64_t kBefore = DeviceGraph::kRunsBefore;

// Whatever changes from step to step changes here: the rate, the averages' weights, dropout.
Experiment experiment_with(std::vector<std::string> changes = {}) {
  changes.insert(changes.end(), {"optimizer.warmup_steps=20", "optimizer.decay=\"cosine\"",
                                 "ema.warmup=true", "ema.power_lengths=[0.05, 0.2]", "run.seed=5"});
  return small_experiment(changes);
}

// The first batches of an experiment.
std::vector<data::Batch> batches_of(const Experiment& experiment, int64_t count) {
  const auto dataset = data::open_dataset(experiment.data, 0);
  data::Loader loader(*dataset, loader_options(experiment));
  std::vector<data::Batch> batches;
  for (int64_t i = 0; i < count; ++i) batches.push_back(loader.next());
  return batches;
}

std::vector<torch::Tensor> everything(const checkpoint::TrainingTensors& t) {
  std::vector<torch::Tensor> all{t.updates};
  const auto add = [&](const std::vector<torch::Tensor>& more) {
    all.insert(all.end(), more.begin(), more.end());
  };
  add(t.weights), add(t.first_moments), add(t.second_moments);
  for (const io::NamedTensor& extra : t.extras) all.push_back(extra.tensor);
  for (const auto& average : t.averages) add(average);
  for (const auto& average : t.power_averages) add(average);
  return all;
}

void expect_same_bits(const Learner& a, const Learner& b) {
  const auto of_a = everything(a.snapshot()), of_b = everything(b.snapshot());
  ASSERT_EQ(of_a.size(), of_b.size());
  for (size_t i = 0; i < of_a.size(); ++i) EXPECT_TRUE(of_a[i].equal(of_b[i])) << "tensor " << i;
}

// Tensors that hold what changes from step to step must not show in the bits.
TEST(Learner, TakesTheStepsThatAreWrittenOutHere) {
  const Experiment experiment = experiment_with({"train.accumulate=2"});
  Learner learner(experiment, torch::kCPU), by_hand(experiment, torch::kCPU);
  nn::UNet unet = by_hand.unet();
  const std::vector<torch::Tensor> parameters = unet->parameters();
  Optimizer optimizer(parameters, experiment.optimizer);
  std::vector<torch::Tensor> average;
  for (const torch::Tensor& p : parameters) average.push_back(p.detach().clone());
  std::vector<torch::Tensor> power = average;
  for (torch::Tensor& p : power) p = torch::zeros_like(p, torch::kDouble);
  const double exponent = nn::power_exponent(0.2);
  int64_t step = 0;
  for (const data::Batch& batch : batches_of(experiment, 4)) {
    learner.step_(batch, ++step);
    torch::manual_seed(
        derived_seed(experiment.run.seed, Purpose::kDropout, static_cast<uint64_t>(step), 0));
    unet->zero_grad();
    for (const int64_t first : {0, 2})
      accumulate_gradient(*unet, by_hand.settings(), slice(batch, first, 2), 0.5);
    optimizer.step_(learning_rate(experiment.optimizer, step, experiment.train.steps));
    const torch::NoGradGuard no_grad;
    at::_foreach_lerp_(average, parameters,
                       1.0 - nn::decay_at(experiment.ema.decays[0], true, step));
    const double share =
        std::pow(step / 4.0, exponent + 1) - std::pow((step - 1) / 4.0, exponent + 1);
    for (size_t i = 0; i < power.size(); ++i) power[i] += share * parameters[i];
  }
  const checkpoint::TrainingTensors found = learner.snapshot();
  for (size_t i = 0; i < parameters.size(); ++i) {
    EXPECT_TRUE(found.weights[i].equal(parameters[i])) << "weight " << i;
    EXPECT_TRUE(found.averages[0][i].equal(average[i])) << "average of weight " << i;
    EXPECT_TRUE(
        torch::allclose(found.power_averages[1][i].to(torch::kDouble), power[i], 1e-5, 1e-7))
        << "power-function average of weight " << i << ": float32 of four updates";
  }
}

// Lets both take the same steps, four of which `taped` replays from the tape.
void take_steps_(const Experiment& experiment, Learner& plain, Learner& taped, Tape& tape) {
  taped.record_by_(std::make_unique<TapeRecorder>(tape));
  int64_t step = 0;
  for (const data::Batch& batch : batches_of(experiment, kBefore + 4)) {
    ++step;
    plain.step_(batch, step);
    taped.step_(batch, step);
  }
}

TEST(RecordedStep, TakesTheSameStepsAsOneThatIsNot) {
  for (const auto& changes : std::vector<std::vector<std::string>>{{},
                                                                   {"train.accumulate=2"},
                                                                   {"train.precision=\"bf16\""},
                                                                   {"optimizer.kind=\"adamw\""}}) {
    const Experiment experiment = experiment_with(changes);
    Learner plain(experiment, torch::kCPU), taped(experiment, torch::kCPU);
    Tape tape;
    take_steps_(experiment, plain, taped, tape);
    EXPECT_EQ(tape.replayed, 4);
    expect_same_bits(plain, taped);
    EXPECT_EQ(plain.read_metrics().loss, taped.read_metrics().loss);
  }
}

// A graph keeps the numbers that it was recorded with, and cannot wait for the device.
TEST(RecordedStep, HasTheSameOperationsAndNumbersInEveryStep) {
  const Experiment experiment = experiment_with({"train.accumulate=2"});
  Learner learner(experiment, torch::kCPU);
  Tape tape;
  learner.record_by_(std::make_unique<TapeRecorder>(tape));
  int64_t step = 0;
  for (const data::Batch& batch : batches_of(experiment, kBefore + 3)) learner.step_(batch, ++step);
  ASSERT_EQ(tape.operations.size(), 3u);
  EXPECT_GT(tape.operations[0].size(), 100u);
  EXPECT_EQ(tape.operations[0], tape.operations[1]);
  EXPECT_EQ(tape.operations[0], tape.operations[2]);
  const auto waits = std::count_if(
      tape.operations[0].begin(), tape.operations[0].end(),
      [](const std::string& op) { return op.starts_with("aten::_local_scalar_dense"); });
  EXPECT_EQ(waits, 1 + std::ssize(learner.unet()->parameters()))
      << "the CPU's Adam reads its rate and each count of updates so; CUDA's does not";
}

TEST(RecordedStep, BeginsAnewWithBatchesOfAnotherShapeOrOtherRounds) {
  const Experiment experiment = experiment_with();
  Learner learner(experiment, torch::kCPU);
  Tape tape;
  learner.record_by_(std::make_unique<TapeRecorder>(tape));
  const auto batches = batches_of(experiment, kBefore + 1);
  int64_t step = 0;
  for (const data::Batch& batch : batches) learner.step_(batch, ++step);
  EXPECT_TRUE(learner.recorded());
  data::Batch wide = batches[0];
  wide.images = wide.images.repeat({1, 1, 2, 2});
  learner.step_(wide, ++step);
  EXPECT_FALSE(learner.recorded());
  for (int64_t i = 0; i < kBefore; ++i) learner.step_(wide, ++step);
  EXPECT_TRUE(learner.recorded());
  learner.fit_micro_batch_();
  EXPECT_FALSE(learner.recorded());
}

TEST(RecordedStep, GoesOnFromWhatIsRestored) {
  const Experiment experiment = experiment_with();
  const auto batches = batches_of(experiment, kBefore + 2);
  Learner plain(experiment, torch::kCPU), taped(experiment, torch::kCPU);
  Tape tape;
  taped.record_by_(std::make_unique<TapeRecorder>(tape));
  const auto addresses = [&] {
    std::vector<const void*> all;
    for (const torch::Tensor& p : taped.unet()->parameters()) all.push_back(p.const_data_ptr());
    return all;
  };
  const auto before = addresses();
  int64_t step = 0;
  for (const data::Batch& batch : batches) taped.step_(batch, ++step);
  taped.restore_(plain.snapshot());  // as it began
  for (step = 1; step <= 2; ++step) {
    plain.step_(batches[0], step);
    taped.step_(batches[0], step);
  }
  EXPECT_EQ(tape.replayed, 4);
  expect_same_bits(plain, taped);
  EXPECT_EQ(addresses(), before) << "a graph would write to where the weights were";
}

// With a full history from the second step on, and ranges of log SNR.
const std::vector<std::string> kImportance{"train.t_sampling=\"loss_second_moment\"",
                                           "diffusion.timesteps=2", "train.batch_size=20",
                                           "train.accumulate=2", "train.loss_bins=3"};
const std::vector<std::string> kLearnedWeight{"train.loss_weight=\"learned\"",
                                              "train.noise_scale_every=2"};

TEST(RecordedStep, HasTheHistoryAndTheLearnedWeightInTensors) {
  for (const auto& changes : {kImportance, kLearnedWeight}) {
    const Experiment experiment = experiment_with(changes);
    Learner plain(experiment, torch::kCPU), taped(experiment, torch::kCPU);
    Tape tape;
    take_steps_(experiment, plain, taped, tape);
    ASSERT_EQ(tape.replayed, 4);
    expect_same_bits(plain, taped);
    for (auto& operations : tape.operations) {
      // Releasing gradients detaches them first; after a measurement there are none.
      std::erase_if(operations, [](const std::string& op) { return op.ends_with("detach"); });
      EXPECT_TRUE(operations == tape.operations[0]);
      const auto waits =
          std::count_if(operations.begin(), operations.end(), [](const std::string& op) {
            return op.starts_with("aten::_local_scalar_dense") || op.starts_with("aten::nonzero");
          });
      // Of the CPU's Adam alone; a learned weight has an Adam of its own, with two parameters.
      const int64_t own = changes == kLearnedWeight ? 1 + 2 : 0;
      EXPECT_EQ(waits, 1 + std::ssize(taped.unet()->parameters()) + own);
    }
  }
}

class RecordedStepGpu : public testing::TestWithParam<std::vector<std::string>> {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA GPU here";
  }
};

TEST_P(RecordedStepGpu, TakesTheSameStepsAsOneThatIsNot) {
  const torch::Device device(torch::kCUDA, 0);
  std::vector<std::string> changes = GetParam();
  const Experiment recorded = experiment_with(changes);
  changes.push_back("train.cuda_graph=\"never\"");
  Learner plain(experiment_with(changes), device), graphed(recorded, device);
  int64_t step = 0;
  for (const data::Batch& batch : batches_of(recorded, kBefore + 20)) {
    ++step;
    plain.step_(batch, step);
    graphed.step_(batch, step);
    EXPECT_EQ(graphed.recorded(), step > kBefore);
  }
  // Sums of a backward pass on a GPU may be taken in another order each time; Adam turns what is
  // rounding in a small gradient into a share of its rate, at most 2e-4 here.
  const auto of_plain = everything(plain.snapshot()), of_graph = everything(graphed.snapshot());
  for (size_t i = 0; i < of_plain.size(); ++i)
    EXPECT_TRUE(torch::allclose(of_plain[i], of_graph[i], 1e-2, 2e-4)) << "tensor " << i;
  const double loss = plain.read_metrics().loss;
  EXPECT_NEAR(graphed.read_metrics().loss, loss, 1e-2 * loss);
}

INSTANTIATE_TEST_SUITE_P(
    All, RecordedStepGpu,
    testing::Values(std::vector<std::string>{}, std::vector<std::string>{"train.accumulate=2"},
                    std::vector<std::string>{"train.precision=\"bf16\""},
                    std::vector<std::string>{"train.recompute=true", "model.dropout=0.0"},
                    std::vector<std::string>{"train.t_sampling=\"loss_second_moment\"",
                                             "train.loss_bins=3"},
                    kLearnedWeight));

// The history and what is drawn from it are the CPU's, to the bit.
TEST(TimestepHistoryGpu, IsThatOfTheCpu) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA GPU here";
  for (const int64_t count : {64, 10'000}) {
    TimestepHistory cpu(50, torch::kCPU), gpu(50, torch::kCUDA);
    torch::manual_seed(1);
    for (int64_t i = 0; i < 20; ++i) {
      const torch::Tensor t = torch::randint(1, 51, {count}, torch::kLong);
      const torch::Tensor losses = torch::rand({count}, torch::kDouble);
      cpu.add_(t, losses);
      gpu.add_(t.cuda(), losses.cuda());
    }
    for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(cpu.state()[i].equal(gpu.state()[i].cpu()));
    const torch::Tensor parts =
        torch::linspace(1, TimestepHistory::kParts, 100'000, torch::kDouble).to(torch::kLong);
    const torch::Tensor other =
        cpu.draw(parts, parts) != gpu.draw(parts.cuda(), parts.cuda()).cpu();
    // Sums of squares in another order can move an edge by one part.
    EXPECT_LE(other.sum().item<int64_t>(), 1);
  }
}

TEST(RecomputedDropoutGpu, IsNotRecorded) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA GPU here";
  const Experiment experiment = experiment_with({"train.recompute=true"});
  Learner learner(experiment, torch::Device(torch::kCUDA, 0));
  int64_t step = 0;
  for (const data::Batch& batch : batches_of(experiment, kBefore + 2)) learner.step_(batch, ++step);
  EXPECT_FALSE(learner.recorded());
}

}  // namespace
}  // namespace ddpm::train
