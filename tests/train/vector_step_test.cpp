#include "ddpm/base/rng.h"
#include "ddpm/data/loader.h"
#include "ddpm/diffusion/image_range.h"
#include "ddpm/kernels/elementwise.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/train/advice.h"
#include "ddpm/train/holdout.h"
#include "ddpm/train/learner.h"
#include "tests/dist/start_world.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"
#include "tests/nn/moved_unet.h"
#include "tests/train/same_bits.h"
#include "tests/train/small_experiment.h"

#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

// Training with a vector per image.

namespace ddpm::train::vector_step_test {
namespace {

constexpr int64_t kImages = 40;  // of small_document

nn::UNetConfig small_config(bool classes = false) {
  nn::UNetConfig config;
  config.image = {1, 8, 8, classes ? 3 : 0};
  config.channels = 8;
  config.channel_multipliers = {1, 2};
  config.blocks = 1;
  config.attention_resolutions = {};
  config.groups = 4;
  config.class_conditional = classes;
  config.null_class = true;
  config.vector_conditional = true;
  config.vectors = {
      .names = {"a", "b"}, .mean = {1.0, 0.0}, .deviation = {2.0, 1.0}, .rows = {0, 0}};
  return config;
}

StepSettings settings(double dropout) {
  diffusion::DiffusionConfig config;
  config.schedule.timesteps = 50;
  StepSettings s{diffusion::Diffusion(config), nn::Precision::kFp64, torch::kCPU, 7};
  s.label_dropout = dropout;
  return s;
}

data::Batch batch_of(int64_t count) {
  torch::manual_seed(2);
  data::Batch batch{torch::randint(0, 256, {count, 1, 8, 8}).to(torch::kByte),
                    torch::arange(count).remainder(3), torch::arange(count)};
  batch.vectors = torch::randn({count, 2}, torch::kFloat);
  return batch;
}

// The network's output for each image of a batch in training, with these labels and vectors.
torch::Tensor losses_with(nn::UNet unet, const StepSettings& s, const data::Batch& batch,
                          const torch::Tensor& labels, const torch::Tensor& vectors) {
  const torch::Tensor x0 = diffusion::to_model_range(batch.images, torch::kDouble);
  const torch::Tensor t = draw_timesteps(s, batch.ids);
  torch::Tensor eps = torch::empty_like(x0);
  kernels::fill_normal_(eps, rng_key(7, Purpose::kTrainingNoise), batch.ids);
  const torch::Tensor output =
      unet->forward(s.diffusion.noised(x0, t, eps), t - 1, labels, {}, {}, vectors);
  return (output - eps).square().flatten(1).mean(1);
}

torch::Tensor nothing(const data::Batch& batch) {
  return torch::full_like(batch.vectors, std::numeric_limits<float>::quiet_NaN());
}

TEST(VectorStep, EachImageIsTrainedWithItsOwnVector) {
  const data::Batch batch = batch_of(6);
  nn::UNet unet = nn::moved_unet(small_config());
  const StepSettings s = settings(0.0);
  EXPECT_TRUE(torch::allclose(unweighted_losses(*unet, s, batch).per_sample,
                              losses_with(unet, s, batch, {}, batch.vectors), 1e-9, 0.0));
}

// Who loses a class loses the vector: both losses by hand, and no third one.
TEST(VectorStep, ClassAndVectorAreLeftOutTogether) {
  const data::Batch batch = batch_of(400);
  nn::UNet unet = nn::moved_unet(small_config(/*classes=*/true));
  const StepSettings s = settings(0.25);
  const torch::NoGradGuard no_grad;
  const torch::Tensor found = unweighted_losses(*unet, s, batch).per_sample;
  const torch::Tensor with = losses_with(unet, s, batch, batch.labels, batch.vectors);
  const torch::Tensor without =
      losses_with(unet, s, batch, torch::full_like(batch.labels, 3), nothing(batch));
  const torch::Tensor lost = torch::isclose(found, without, 1e-9, 0.0),
                      kept = torch::isclose(found, with, 1e-9, 0.0);
  EXPECT_TRUE(lost.logical_xor(kept).all().item<bool>());
  // Binomial: the standard deviation of the share is sqrt(0.25 * 0.75 / 400) = 0.022.
  EXPECT_NEAR(lost.to(torch::kDouble).mean().item<double>(), 0.25, 4 * 0.022);
}

TEST(VectorStep, APartOfABatchHasTheSameVectors) {
  const data::Batch batch = batch_of(12);
  nn::UNet unet = nn::moved_unet(small_config());
  const StepSettings s = settings(0.3);
  const torch::Tensor whole = unweighted_losses(*unet, s, batch).per_sample;
  const torch::Tensor part = unweighted_losses(*unet, s, slice(batch, 5, 4)).per_sample;
  EXPECT_TRUE(torch::allclose(part, whole.narrow(0, 5, 4), 1e-9, 0.0));
}

// Experiments on 40 procedural images whose vector is (sin i, i / 10).
class VectorRun : public testing::Test {
 protected:
  VectorRun() {
    std::string text = "sine,tenth\n";
    for (int64_t i = 0; i < kImages; ++i) text += fmt::format("{},{}\n", std::sin(i), i / 10.0);
    write(text);
  }
  // Without tensors: processes come from a fork, which threads do not survive.
  void write(const std::string& text) { fixtures::write(file(), fixtures::from_text(text)); }
  std::filesystem::path file() const { return folder_ / "v.csv"; }
  std::vector<std::string> keys(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all{"data.vectors=\"" + file().string() + "\"",
                                 "model.vector_conditional=true", "train.label_dropout=0.2",
                                 "run.seed=5"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  static std::vector<torch::Tensor> trained(const Experiment& experiment, int64_t steps = 3) {
    const auto dataset = data::open_dataset(experiment.data, 0);
    data::Loader loader(*dataset, loader_options(experiment));
    Learner learner(experiment, torch::kCPU);
    for (int64_t step = 1; step <= steps; ++step) learner.step_(loader.next(), step);
    return learner.snapshot().weights;
  }
  TemporaryFolder folder_;
};

TEST_F(VectorRun, TheNetworkKnowsTheColumnsOfTheData) {
  const Experiment e = small_experiment(keys());
  EXPECT_EQ(e.unet.vectors.names, (std::vector<std::string>{"sine", "tenth"}));
  EXPECT_NEAR(e.unet.vectors.mean[1], 1.95, 1e-6);  // (0 + ... + 39) / 40 / 10
  EXPECT_NEAR(e.unet.vectors.deviation[1], std::sqrt((40.0 * 40.0 - 1) / 12) / 10, 1e-6);
  EXPECT_TRUE(e.unet.null_class) << "train.label_dropout > 0";
  EXPECT_FALSE(small_experiment(keys({"train.label_dropout=0"})).unet.null_class ||
               small_experiment().unet.null_class);
}

TEST_F(VectorRun, ReplaysAndContinuesWithTheSameBits) {
  expect_replayed_with_the_same_bits(small_experiment(keys()));
  expect_continued_with_the_same_bits(small_experiment(keys()));
  expect_replayed_with_the_same_bits(small_experiment(keys({"train.precision=bf16"})));
}

TEST_F(VectorRun, RecomputingChangesNoBit) {
  expect_equal(trained(small_experiment(keys({"model.dropout=0"}))),
               trained(small_experiment(keys({"model.dropout=0", "train.recompute=true"}))));
}

TEST_F(VectorRun, ARunWithoutTheKeyIsTheSameToTheBit) {
  const std::string vectors = "data.vectors=\"" + file().string() + "\"";
  expect_equal(trained(small_experiment({"run.seed=5"})),
               trained(small_experiment({"run.seed=5", vectors})));
}

TEST_F(VectorRun, TheVectorsDecideTheWeights) {
  const auto before = trained(small_experiment(keys()));
  std::string other = "sine,tenth\n1,0\n0,1\n";
  for (int64_t i = 2; i < kImages; ++i) other += "0,0\n";
  write(other);
  EXPECT_FALSE(before.back().equal(trained(small_experiment(keys())).back()));
}

// In float64 a sum in another order differs by 1e-16 per term.
TEST_F(VectorRun, GradientsAccumulateToThoseOfTheWholeBatch) {
  const std::vector<std::string> more{"train.precision=fp64", "model.dropout=0",
                                      "train.batch_size=8"};
  auto in_parts = more;
  in_parts.emplace_back("train.accumulate=4");
  const auto a = trained(small_experiment(keys(more))),
             b = trained(small_experiment(keys(in_parts)));
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_LT((a[i] - b[i]).abs().max().item<double>(), 1e-10) << i;
}

TEST_F(VectorRun, SeveralProcessesHaveTheVectorsOfTheirShares) {
  const auto more = keys({"train.precision=fp64", "model.dropout=0", "train.batch_size=8"});
  dist::expect_success(dist::start_world(2, std::chrono::seconds(60), [&](const auto& world) {
    const Experiment experiment = small_experiment(more);
    const auto dataset = data::open_dataset(experiment.data, 0);
    data::Loader loader(*dataset, loader_options(experiment, world));
    Learner learner(experiment, torch::kCPU, world);
    learner.begin_();
    for (int64_t step = 1; step <= 3; ++step) learner.step_(loader.next(), step);
    const auto alone = trained(experiment), together = learner.unet()->parameters();
    for (size_t i = 0; i < alone.size(); ++i)
      if ((alone[i] - together[i]).abs().max().item<double>() > 1e-10) return 1;
    return 0;
  }));
}

TEST_F(VectorRun, TheHeldOutLossUsesEachImagesOwn) {
  const Experiment e = small_experiment(keys({"model.dropout=0"}));
  const std::shared_ptr<const data::Dataset> whole = data::open_dataset(e.data, 0);
  const data::Split split = data::hold_out(whole, 6, 5);
  Learner learner(e, torch::kCPU);
  for (torch::Tensor p : learner.unet()->parameters()) {
    const torch::NoGradGuard no_grad;
    p += 0.05 * torch::arange(p.numel(), p.options()).sin().view_as(p);
  }
  const Holdout holdout(*split.held_out, learner.settings(), 4);
  const auto loss = [&] { return *holdout.loss(*learner.unet(), [] { return true; }); };
  StepSettings s = learner.settings();
  s.seed = derived_seed(s.seed, Purpose::kHoldout, 1);
  s.label_dropout = 0;
  std::vector<int64_t> all{0, 1, 2, 3, 4, 5};
  learner.unet()->eval();
  const torch::NoGradGuard no_grad;
  const data::Batch batch = data::read_batch(*split.held_out, all);
  const double own = unweighted_losses(*learner.unet(), s, batch).per_sample.mean().item<double>();
  EXPECT_NEAR(loss(), own, 1e-6);
  data::Batch others = batch;
  others.vectors = batch.vectors.flip(0);
  EXPECT_GT(
      std::abs(unweighted_losses(*learner.unet(), s, others).per_sample.mean().item<double>() -
               own),
      1e-4);
}

TEST_F(VectorRun, SaysWhatIsMissing) {
  const auto refusal = [](const std::vector<std::string>& changes) {
    return fixtures::message_of<ConfigError>([&] { small_experiment(changes); });
  };
  EXPECT_CONTAINS(refusal({"model.vector_conditional=true"}),
                  "model.vector_conditional: is true, but the data has no vectors; name a file of "
                  "them in data.vectors");
  EXPECT_CONTAINS(refusal({"train.label_dropout=0.1"}), "model.vector_conditional = true");
  EXPECT_CONTAINS(refusal({"sample.guidance=2"}), "also trained without them");
  EXPECT_NO_THROW(small_experiment(keys({"sample.guidance=2"})));
  const Experiment e = small_experiment({keys()[0]});
  EXPECT_CONTAINS(class_hint(e, *data::open_dataset(e.data, 0)),
                  "the vectors of the data are not used; set model.vector_conditional = true");
}

}  // namespace
}  // namespace ddpm::train::vector_step_test
