#include "ddpm/base/rng.h"
#include "ddpm/diffusion/image_range.h"
#include "ddpm/kernels/elementwise.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/nn/unet.h"
#include "ddpm/train/learner.h"
#include "ddpm/train/resume.h"
#include "src/train/augment_pipe.h"
#include "tests/nn/moved_unet.h"
#include "tests/train/same_bits.h"
#include "tests/train/small_experiment.h"

#include <gtest/gtest.h>
#include <torch/types.h>

// Training with the augmentation of Karras 2022, with and without its labels.

namespace ddpm::train::augment_step_test {
namespace {

nn::UNetConfig small_config(bool labels) {
  nn::UNetConfig config;
  config.image = {1, 8, 8, 0};
  config.channels = 8;
  config.channel_multipliers = {1, 2};
  config.blocks = 1;
  config.attention_resolutions = {};
  config.groups = 4;
  config.augment_labels = labels;
  return config;
}

StepSettings settings(std::optional<double> augment) {
  diffusion::DiffusionConfig config;
  config.schedule.timesteps = 50;
  StepSettings s{diffusion::Diffusion(config), nn::Precision::kFp64, torch::kCPU, 7};
  s.augment = augment;
  return s;
}

data::Batch batch_of(int64_t count) {
  torch::manual_seed(2);
  return {torch::randint(0, 256, {count, 1, 8, 8}).to(torch::kByte),
          torch::zeros({count}, torch::kLong), torch::arange(count)};
}

// The loss by hand: x0 transformed, t and eps as without augmentation.
torch::Tensor expected_losses(nn::UNet unet, const StepSettings& s, const data::Batch& batch,
                              const torch::Tensor& parameters, const torch::Tensor& labels) {
  const torch::Tensor x0 =
      augmented(diffusion::to_model_range(batch.images, torch::kDouble), parameters);
  const torch::Tensor t = draw_timesteps(s, batch.ids);
  torch::Tensor eps = torch::empty_like(x0);
  kernels::fill_normal_(eps, rng_key(7, Purpose::kTrainingNoise), batch.ids);
  const torch::Tensor output = unet->forward(s.diffusion.noised(x0, t, eps), t - 1, {}, {}, labels);
  return (output - eps).square().flatten(1).mean(1);
}

TEST(AugmentStep, TrainsOnTransformedImagesAndSaysHow) {
  const data::Batch batch = batch_of(16);
  const StepSettings s = settings(0.5);
  const torch::Tensor a = draw_augmentation(7, 0.5, batch.ids);
  for (const bool labels : {true, false}) {
    nn::UNet unet = nn::moved_unet(small_config(labels));
    const torch::Tensor found = unweighted_losses(*unet, s, batch).per_sample;
    const torch::Tensor expected =
        expected_losses(unet, s, batch, a, labels ? augment_labels(a) : torch::Tensor());
    EXPECT_TRUE(torch::allclose(found, expected, 1e-9, 0.0)) << labels;
  }
}

TEST(AugmentStep, EachImageIsTransformedTheSameInEveryDivision) {
  const data::Batch batch = batch_of(12);
  nn::UNet unet = nn::moved_unet(small_config(true));
  const StepSettings s = settings(0.5);
  const torch::Tensor whole = unweighted_losses(*unet, s, batch).per_sample;
  const torch::Tensor part = unweighted_losses(*unet, s, slice(batch, 5, 4)).per_sample;
  EXPECT_TRUE(torch::allclose(part, whole.narrow(0, 5, 4), 1e-9, 0.0));
}

TEST(AugmentStep, LabelsOfZeroAreNone) {
  const torch::NoGradGuard no_grad;
  nn::UNet unet = nn::moved_unet(small_config(true));
  const torch::Tensor x = torch::randn({3, 1, 8, 8}, torch::kDouble), t = torch::tensor({1, 9, 40});
  const torch::Tensor none = unet->forward(x, t);
  EXPECT_TRUE(unet->forward(x, t, {}, {}, torch::zeros({3, 9}, torch::kDouble)).equal(none));
  EXPECT_FALSE(unet->forward(x, t, {}, {}, torch::ones({3, 9}, torch::kDouble)).equal(none));
  nn::UNet plain = nn::moved_unet(small_config(false));
  EXPECT_THROW(plain->forward(x, t, {}, {}, torch::zeros({3, 9})), c10::Error);
}

TEST(AugmentStep, OtherWeightsBeginAsWithoutLabels) {
  nn::UNet with(small_config(true)), without(small_config(false));
  nn::initialize_(*with, 1);
  nn::initialize_(*without, 1);
  const auto named = with->named_parameters();
  EXPECT_EQ(named.size(), without->named_parameters().size() + 1);
  for (const auto& item : without->named_parameters())
    EXPECT_TRUE(item.value().equal(named[item.key()])) << item.key();
  EXPECT_EQ(named["augment_embedding.weight"].sizes(), (torch::IntArrayRef{8, 9}));
}

// A network with labels whose training augments nothing: its labels are zeros, its map stays.
TEST(AugmentStep, WithoutAugmentationTheMapHasNoGradient) {
  nn::UNet unet = nn::moved_unet(small_config(true));
  accumulate_gradient(*unet, settings(std::nullopt), batch_of(4), 1.0);
  const torch::Tensor gradient = unet->named_parameters()["augment_embedding.weight"].grad();
  ASSERT_TRUE(gradient.defined());
  EXPECT_EQ(gradient.abs().max().item<double>(), 0.0);
  accumulate_gradient(*unet, settings(0.5), batch_of(4), 1.0);
  EXPECT_GT(gradient.abs().max().item<double>(), 0.0);
}

std::vector<std::string> augmented_keys() {
  return {"data.augment=edm", "data.augment_probability=0.5", "model.augment_labels=true",
          "run.seed=5"};
}

TEST(AugmentStep, IsReplayedFromARecordingWithTheSameBits) {
  expect_replayed_with_the_same_bits(small_experiment(augmented_keys()));
}

TEST(AugmentStep, ContinuesWithTheSameBits) {
  expect_continued_with_the_same_bits(small_experiment(augmented_keys()));
}

TEST(AugmentStep, TheKeyIsWrittenOnlyForANetworkWithLabels) {
  const auto text = [](bool labels) { return nn::to_toml({small_config(labels), {}, {}}); };
  EXPECT_EQ(text(false).find("augment_labels"), std::string::npos);
  config::Document document = config::Document::parse(text(true), "model.toml");
  EXPECT_EQ(nn::read_model_description(document).unet, small_config(true));
}

TEST(AugmentStep, RefusesANewNetworkWhoseLabelsNothingTrains) {
  const auto check = [](const std::vector<std::string>& changes, bool given) {
    config::Document document = small_document(changes);
    const Experiment experiment = read_experiment(document);
    check_trainable(experiment, document, /*begins=*/true, given);
  };
  EXPECT_THROW(check({"model.augment_labels=true"}, false), ConfigError);
  EXPECT_NO_THROW(check({"model.augment_labels=true"}, true)) << "--init-from";
  EXPECT_NO_THROW(check(augmented_keys(), false));
  EXPECT_NO_THROW(check({"data.augment=edm"}, false)) << "without labels";
}

}  // namespace
}  // namespace ddpm::train::augment_step_test
