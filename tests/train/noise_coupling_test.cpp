#include "src/train/noise_coupling.h"

#include "ddpm/data/loader.h"
#include "ddpm/diffusion/image_range.h"
#include "ddpm/io/safetensors.h"
#include "ddpm/train/learner.h"
#include "src/train/assignment.h"
#include "tests/nn/moved_unet.h"
#include "tests/train/same_bits.h"
#include "tests/train/small_experiment.h"

#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>
#include <torch/types.h>

// Minibatch optimal transport of the noise.

namespace ddpm::train {
namespace {

double total(const torch::Tensor& cost, const std::vector<int64_t>& columns) {
  double sum = 0;
  for (size_t i = 0; i < columns.size(); ++i)
    sum += cost[static_cast<int64_t>(i)][columns[i]].item<double>();
  return sum;
}

TEST(Assignment, AgreesWithScipy) {
  const auto file = io::SafetensorsFile::open(std::string(DDPM_SOURCE_DIR) +
                                              "/tests/golden/assignment.safetensors");
  int cases = 0;
  for (const std::string& name : file.names()) {
    if (!name.starts_with("cost.")) continue;
    const std::string which = name.substr(5);
    const torch::Tensor cost = file.get(name);
    const std::vector<int64_t> found = best_assignment(cost);
    std::vector<int64_t> sorted = found, each(found.size());
    std::sort(sorted.begin(), sorted.end());
    std::iota(each.begin(), each.end(), 0);
    EXPECT_EQ(sorted, each) << which << ": each column once";
    const double best = file.get("total." + which).item<double>();
    // A sum of at most 100 numbers, in another order.
    EXPECT_NEAR(total(cost, found), best, 1e-13 * (1 + cost.abs().sum().item<double>())) << which;
    if (!which.starts_with("ties")) {
      EXPECT_TRUE(torch::tensor(found).equal(file.get("columns." + which))) << which;
    }
    ++cases;
  }
  EXPECT_EQ(cases, 13);
}

TEST(Assignment, IsTheBestOfAllPermutations) {
  torch::manual_seed(3);
  for (int trial = 0; trial < 20; ++trial) {
    const torch::Tensor cost = trial % 2 == 0
                                   ? torch::randn({6, 6}, torch::kDouble)
                                   : torch::randint(0, 4, {6, 6}).to(torch::kDouble);  // with ties
    std::vector<int64_t> order{0, 1, 2, 3, 4, 5};
    double best = total(cost, order);
    while (std::next_permutation(order.begin(), order.end()))
      best = std::min(best, total(cost, order));
    EXPECT_NEAR(total(cost, best_assignment(cost)), best, 1e-12) << trial;
  }
}

TEST(Assignment, RefusesWhatHasNoBest) {
  torch::Tensor cost = torch::zeros({2, 2}, torch::kDouble);
  cost[0][1] = NAN;
  EXPECT_THROW(best_assignment(cost), c10::Error);
  EXPECT_THROW(best_assignment(torch::zeros({2, 3}, torch::kDouble)), c10::Error);
  EXPECT_TRUE(best_assignment(torch::zeros({0, 0}, torch::kDouble)).empty());
}

data::Batch batch_of(int64_t count) {
  torch::manual_seed(2);
  return {torch::randint(0, 256, {count, 1, 8, 8}).to(torch::kByte),
          torch::zeros({count}, torch::kLong), torch::arange(100, 100 + count)};
}

StepSettings settings() {
  return {diffusion::Diffusion(diffusion::DiffusionConfig{}), nn::Precision::kFp64, torch::kCPU, 7};
}

double distance(const StepSettings& s, const torch::Tensor& x0, const torch::Tensor& noise_ids) {
  return (x0 - training_noise(s, x0, noise_ids)).square().sum().item<double>();
}

TEST(NoiseCoupling, PermutesTheNoisesOfTheBatchForTheLeastDistance) {
  StepSettings s = settings();
  for (const double offset : {0.0, 0.5}) {
    s.offset_noise = offset;
    const data::Batch batch = batch_of(7);
    const torch::Tensor x0 = diffusion::to_model_range(batch.images, torch::kDouble);
    const torch::Tensor found = transported_noise_ids(s, batch);
    EXPECT_TRUE(std::get<0>(found.sort()).equal(batch.ids)) << "the same noises";
    // The least of all 5,040 permutations of the batch.
    std::vector<int64_t> order(7);
    std::iota(order.begin(), order.end(), 100);
    double best = distance(s, x0, torch::tensor(order));
    while (std::next_permutation(order.begin(), order.end()))
      best = std::min(best, distance(s, x0, torch::tensor(order)));
    EXPECT_NEAR(distance(s, x0, found), best, 1e-9);
    EXPECT_LT(best, distance(s, x0, batch.ids)) << "the images' own noise is not the best";
  }
}

// In one dimension the optimal transport keeps the order: the darkest image gets the least noise.
TEST(NoiseCoupling, OfImagesOfOnePixelKeepsTheirOrder) {
  constexpr int64_t kCount = 64;
  torch::manual_seed(4);
  const torch::Tensor levels = torch::randperm(256).narrow(0, 0, kCount);
  const data::Batch batch{levels.to(torch::kByte).view({kCount, 1, 1, 1}),
                          torch::zeros({kCount}, torch::kLong), torch::arange(kCount)};
  const StepSettings s = settings();
  const torch::Tensor x0 = diffusion::to_model_range(batch.images, torch::kDouble);
  const torch::Tensor eps = training_noise(s, x0, transported_noise_ids(s, batch)).view({kCount});
  const torch::Tensor in_order = eps.index_select(0, levels.argsort());
  EXPECT_TRUE((in_order.diff() > 0).all().item<bool>());
}

TEST(NoiseCoupling, ComparesImagesAsTheyAreAugmented) {
  StepSettings s = settings();
  const data::Batch batch = batch_of(16);
  const torch::Tensor plain = transported_noise_ids(s, batch);
  s.augment = 1.0;
  EXPECT_FALSE(transported_noise_ids(s, batch).equal(plain));
}

TEST(NoiseCoupling, EachImageIsTrainedWithItsNoise) {
  nn::UNetConfig config;
  config.image = {1, 8, 8, 0};
  config.channels = 8;
  config.channel_multipliers = {1, 2};
  config.blocks = 1;
  config.attention_resolutions = {};
  config.groups = 4;
  nn::UNet unet = nn::moved_unet(config);
  const StepSettings s = settings();
  data::Batch batch = batch_of(6);
  batch.noise_ids = transported_noise_ids(s, batch);
  const torch::Tensor x0 = diffusion::to_model_range(batch.images, torch::kDouble);
  const torch::Tensor t = draw_timesteps(s, batch.ids);
  const torch::Tensor eps = training_noise(s, x0, batch.noise_ids);
  const torch::Tensor output = unet->forward(s.diffusion.noised(x0, t, eps), t - 1);
  const torch::Tensor expected = (output - eps).square().flatten(1).mean(1);
  EXPECT_TRUE(torch::allclose(unweighted_losses(*unet, s, batch).per_sample, expected, 1e-9, 0.0));
  EXPECT_TRUE(torch::allclose(unweighted_losses(*unet, s, slice(batch, 2, 3)).per_sample,
                              expected.narrow(0, 2, 3), 1e-9, 0.0));
}

std::vector<torch::Tensor> trained(const Experiment& experiment, int64_t steps) {
  const auto dataset = data::open_dataset(experiment.data, 0);
  data::Loader loader(*dataset, loader_options(experiment));
  Learner learner(experiment, torch::kCPU);
  for (int64_t step = 1; step <= steps; ++step) learner.step_(loader.next(), step);
  return learner.snapshot().weights;
}

TEST(NoiseCoupling, IsReplayedFromARecordingWithTheSameBits) {
  expect_replayed_with_the_same_bits(small_experiment({"train.noise_coupling=optimal_transport"}));
}

TEST(NoiseCoupling, ContinuesWithTheSameBits) {
  expect_continued_with_the_same_bits(small_experiment({"train.noise_coupling=optimal_transport"}));
}

// The order is that of the whole share, not of its parts.
TEST(NoiseCoupling, PartsOfABatchDoNotChangeIt) {
  const auto of = [](const std::vector<std::string>& more) {
    std::vector<std::string> changes{"train.noise_coupling=optimal_transport", "model.dropout=0",
                                     "train.precision=fp64", "train.batch_size=8"};
    changes.insert(changes.end(), more.begin(), more.end());
    return trained(small_experiment(changes), 3);
  };
  const auto whole = of({}), parts = of({"train.accumulate=4"});
  for (size_t i = 0; i < whole.size(); ++i)  // sums in another order
    EXPECT_TRUE(torch::allclose(whole[i], parts[i], 1e-7, 1e-10)) << "weight " << i;
  const auto independent = of({"train.noise_coupling=independent"});
  EXPECT_FALSE(torch::allclose(whole[0], independent[0], 1e-7, 1e-10)) << "it does something";
}

}  // namespace
}  // namespace ddpm::train
