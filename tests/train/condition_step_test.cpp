#include "ddpm/base/rng.h"
#include "ddpm/diffusion/condition.h"
#include "ddpm/diffusion/image_range.h"
#include "ddpm/kernels/elementwise.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/nn/unet.h"
#include "ddpm/train/learner.h"
#include "ddpm/train/optimizer.h"
#include "ddpm/train/train_step.h"
#include "tests/nn/moved_unet.h"
#include "tests/train/same_bits.h"
#include "tests/train/small_experiment.h"

#include <gtest/gtest.h>
#include <torch/types.h>

// Training of networks that are conditioned on a picture.

namespace ddpm::train::condition_step_test {
namespace {

nn::UNetConfig small_config(bool conditioned) {
  nn::UNetConfig config;
  config.image = {1, 8, 8, 2};
  config.channels = 8;
  config.channel_multipliers = {1, 2};
  config.blocks = 1;
  config.attention_resolutions = {};
  config.groups = 4;
  if (conditioned) config.condition = {diffusion::ConditionKind::kDownsample, 4, true};
  return config;
}

StepSettings settings() {
  diffusion::DiffusionConfig config;
  config.schedule.timesteps = 50;
  config.schedule.beta_start = 0.002;
  config.schedule.beta_end = 0.4;  // alpha_bar_T is 1e-5: nothing of the image is left
  config.prediction = diffusion::Prediction::kX0;
  return {diffusion::Diffusion(config), nn::Precision::kFp64, torch::kCPU, 7};
}

// A toy pair: four blocks of 4x4 of random levels, which the picture of 2x2 says in full.
data::Batch blocks(int64_t first, int64_t count) {
  const torch::Tensor ids = torch::arange(first, first + count);
  torch::manual_seed(static_cast<uint64_t>(first) + 1);
  const torch::Tensor small = torch::randint(0, 256, {count, 1, 2, 2}).to(torch::kByte);
  return {small.repeat_interleave(4, 2).repeat_interleave(4, 3),
          torch::zeros({count}, torch::kLong), ids};
}

// The loss of the network on new images after a short training.
double trained_loss(bool conditioned) {
  nn::UNet unet(small_config(conditioned));
  nn::initialize_(*unet, 3);
  unet->to(torch::kDouble);
  const StepSettings s = settings();
  OptimizerConfig config;
  config.lr = 3e-3;
  Optimizer optimizer(unet->parameters(), config);
  constexpr int64_t kBatch = 32, kSteps = 250;
  for (int64_t step = 0; step < kSteps; ++step) {
    unet->zero_grad();
    accumulate_gradient(*unet, s, blocks(step * kBatch, kBatch), 1.0);
    optimizer.step_(config.lr);
  }
  const torch::NoGradGuard no_grad;
  return unweighted_losses(*unet, s, blocks(kSteps * kBatch, 500)).per_sample.mean().item<double>();
}

// Predicting x0, of variance 1/3. Where x_t is noise, only the condition says what the image is.
TEST(ConditionStep, ATrainedNetworkUsesItsCondition) {
  const double blind = trained_loss(false), seeing = trained_loss(true);
  EXPECT_LT(blind, 0.25) << "it has learned something";
  EXPECT_LT(seeing, 0.3 * blind);
}

TEST(ConditionStep, ReadsTheDegradationOfTheBatchItself) {
  nn::UNet unet = nn::moved_unet(small_config(true));
  const data::Batch batch = blocks(0, 4);
  const StepSettings s = settings();
  const StepLosses found = unweighted_losses(*unet, s, batch);
  // The same by hand: t and eps are those of an unconditional network's step.
  const torch::Tensor x0 = diffusion::to_model_range(batch.images, torch::kDouble);
  const torch::Tensor small = batch.images.slice(2, 0, 8, 4).slice(3, 0, 8, 4);  // one per block
  const torch::Tensor condition = diffusion::condition_input(small, 8, 8, torch::kDouble);
  torch::Tensor eps = torch::empty_like(x0, x0.options(), torch::MemoryFormat::ChannelsLast);
  kernels::fill_normal_(eps, rng_key(7, Purpose::kTrainingNoise), batch.ids);
  const torch::Tensor x_t = s.diffusion.noised(x0, found.t, eps);
  const torch::Tensor output = unet->forward(x_t, found.t - 1, {}, condition);
  const torch::Tensor expected = (output - x0).square().flatten(1).mean(1);
  EXPECT_TRUE(torch::allclose(found.per_sample, expected, 1e-9, 0.0));
}

TEST(ConditionStep, DroppedConditionsAreZeros) {
  nn::UNet unet = nn::moved_unet(small_config(true));
  nn::UNet blind = nn::moved_unet(small_config(false));
  std::vector<io::NamedTensor> weights = nn::named_weights(*unet);
  for (io::NamedTensor& w : weights)  // the network that sees zeros
    if (w.name == "conv_in.weight") w.tensor = w.tensor.narrow(1, 0, 1);
  nn::load_(*blind, weights, "test");
  const data::Batch batch = blocks(0, 200);
  StepSettings s = settings();
  const torch::Tensor without = unweighted_losses(*blind, s, batch).per_sample;
  const torch::Tensor with = unweighted_losses(*unet, s, batch).per_sample;
  s.condition_dropout = 1.0;
  EXPECT_TRUE(torch::allclose(unweighted_losses(*unet, s, batch).per_sample, without, 1e-9, 0.0));
  s.condition_dropout = 0.3;
  const torch::Tensor some = unweighted_losses(*unet, s, batch).per_sample;
  const torch::Tensor dropped = (some - without).abs() < 1e-9 * without;
  EXPECT_TRUE((dropped | ((some - with).abs() < 1e-9 * with)).all().item<bool>());
  // 0.3 of 200 within 4 standard errors sqrt(0.3 0.7 / 200).
  EXPECT_NEAR(dropped.to(torch::kDouble).mean().item<double>(), 0.3, 0.13);
}

// Guidance leaves out class and condition at once, so training does too.
TEST(ConditionStep, DropsTheConditionOfTheImagesWithoutAClass) {
  nn::UNetConfig config = small_config(true);
  config.class_conditional = config.null_class = true;
  nn::UNet unet = nn::moved_unet(config);
  const data::Batch batch = blocks(0, 64);
  StepSettings s = settings();
  const auto losses = [&](double label, double condition) {
    s.label_dropout = label;
    s.condition_dropout = condition;
    return unweighted_losses(*unet, s, batch).per_sample;
  };
  const torch::Tensor both = losses(0.4, 0.4);
  const torch::Tensor known = both == losses(0, 0), null = both == losses(1, 1);
  EXPECT_TRUE((known | null).all().item<bool>()) << "no image loses one alone";
  EXPECT_GT(null.sum().item<int64_t>(), 0);
  EXPECT_GT(known.sum().item<int64_t>(), 0);
}

Experiment conditioned_experiment() {
  return small_experiment({"model.condition=downsample", "model.condition_factor=2",
                           "train.condition_dropout=0.5", "run.seed=5"});
}

TEST(ConditionStep, IsReplayedFromARecordingWithTheSameBits) {
  const Experiment experiment = conditioned_experiment();
  EXPECT_TRUE(experiment.unet.condition.null_condition) << "follows from train.condition_dropout";
  expect_replayed_with_the_same_bits(experiment);
}

TEST(ConditionStep, RefusesDropoutAndGuidanceThatMeanNothing) {
  const auto complaint = [](const std::vector<std::string>& changes) {
    try {
      small_experiment(changes);
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(complaint({"train.condition_dropout=0.1"}).find("needs a network with a condition"),
            std::string::npos);
  EXPECT_NE(
      complaint({"model.condition=downsample", "model.condition_factor=2", "sample.guidance=2"})
          .find("set train.condition_dropout = 0.1"),
      std::string::npos);
  EXPECT_EQ(complaint({"model.condition=downsample", "model.condition_factor=2",
                       "train.condition_dropout=0.1", "sample.guidance=2"}),
            "");
}

}  // namespace
}  // namespace ddpm::train::condition_step_test
