#include "ddpm/base/rng.h"
#include "ddpm/diffusion/image_range.h"
#include "ddpm/kernels/elementwise.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/train/learner.h"
#include "ddpm/train/train_step.h"
#include "tests/nn/moved_unet.h"
#include "tests/train/same_bits.h"
#include "tests/train/small_experiment.h"

#include <gtest/gtest.h>
#include <torch/types.h>

// Training of networks that read their own estimate.

namespace ddpm::train::self_condition_step_test {
namespace {

nn::UNetConfig small_config(bool self_condition) {
  nn::UNetConfig config;
  config.image = {1, 8, 8, 0};
  config.channels = 8;
  config.channel_multipliers = {1, 2};
  config.blocks = 1;
  config.attention_resolutions = {};
  config.groups = 4;
  config.self_condition = self_condition;
  return config;
}

StepSettings settings(double probability) {
  StepSettings s{diffusion::Diffusion(diffusion::DiffusionConfig{}), nn::Precision::kFp64,
                 torch::kCPU, 7};
  s.self_condition_probability = probability;
  return s;
}

data::Batch batch_of(int64_t count) {
  torch::manual_seed(2);
  return {torch::randint(0, 256, {count, 1, 8, 8}).to(torch::kByte),
          torch::zeros({count}, torch::kLong), torch::arange(count)};
}

// A step's inputs by hand, and its losses for a given estimate.
struct ByHand {
  explicit ByHand(const data::Batch& batch) : s(settings(0)) {
    x0 = diffusion::to_model_range(batch.images, torch::kDouble);
    t = draw_timesteps(s, batch.ids);
    eps = torch::empty_like(x0);
    kernels::fill_normal_(eps, rng_key(7, Purpose::kTrainingNoise), batch.ids);
    x_t = s.diffusion.noised(x0, t, eps);
  }
  torch::Tensor output(nn::UNet unet, const torch::Tensor& estimate) const {
    return unet->forward(x_t, t - 1, {}, estimate);
  }
  torch::Tensor losses(nn::UNet unet, const torch::Tensor& estimate) const {
    return (output(unet, estimate) - eps).square().flatten(1).mean(1);
  }
  // Of a first pass with zeros, without gradient.
  torch::Tensor estimate(nn::UNet unet) const {
    const torch::NoGradGuard no_grad;
    const torch::Tensor first = output(unet, torch::zeros_like(x0));
    return s.diffusion.estimate(first, x_t, t).x0.clamp(-1, 1);
  }

  StepSettings s;
  torch::Tensor x0, t, eps, x_t;
};

// The network without the estimate's channels: it sees zeros there.
nn::UNet without_estimate(nn::UNet unet) {
  nn::UNet plain = nn::moved_unet(small_config(false));
  std::vector<io::NamedTensor> weights = nn::named_weights(*unet);
  for (io::NamedTensor& w : weights)
    if (w.name == "conv_in.weight") w.tensor = w.tensor.narrow(1, 0, 1);
  nn::load_(*plain, weights, "test");
  return plain;
}

TEST(SelfConditionStep, OfProbabilityZeroIsThePlainTraining) {
  nn::UNet unet = nn::moved_unet(small_config(true));
  nn::UNet plain = without_estimate(unet);
  const data::Batch batch = batch_of(8);
  const torch::Tensor with = accumulate_gradient(*unet, settings(0.0), batch, 1.0).per_sample;
  const torch::Tensor without = accumulate_gradient(*plain, settings(0.5), batch, 1.0).per_sample;
  // A convolution of more channels may sum in another order.
  EXPECT_TRUE(torch::allclose(with, without, 1e-10, 0.0));
  const auto named = plain->named_parameters();
  for (const auto& item : unet->named_parameters()) {
    torch::Tensor gradient = item.value().grad();
    if (item.key() == "conv_in.weight") {
      EXPECT_EQ(gradient.narrow(1, 1, 1).abs().max().item<double>(), 0.0) << "of zeros";
      gradient = gradient.narrow(1, 0, 1);
    }
    EXPECT_TRUE(torch::allclose(gradient, named[item.key()].grad(), 1e-8, 1e-11)) << item.key();
  }
}

TEST(SelfConditionStep, OfProbabilityOneReadsTheEstimateOfAFirstPass) {
  nn::UNet unet = nn::moved_unet(small_config(true));
  const data::Batch batch = batch_of(8);
  const ByHand hand(batch);
  const torch::Tensor expected = hand.losses(unet, hand.estimate(unet));
  const torch::Tensor found = unweighted_losses(*unet, settings(1.0), batch).per_sample;
  EXPECT_TRUE(torch::allclose(found, expected, 1e-9, 0.0));
  EXPECT_FALSE(torch::allclose(found, hand.losses(unet, torch::zeros_like(hand.x0)), 1e-4, 0.0));
}

// The gradient is that of the second pass with the estimate as a constant; one through the first
// pass too would differ.
TEST(SelfConditionStep, TheFirstPassCarriesNoGradient) {
  nn::UNet unet = nn::moved_unet(small_config(true)), second = nn::moved_unet(small_config(true)),
           through = nn::moved_unet(small_config(true));
  const data::Batch batch = batch_of(8);
  const ByHand hand(batch);
  accumulate_gradient(*unet, settings(1.0), batch, 1.0);
  hand.losses(second, hand.estimate(second)).mean().backward();
  const torch::Tensor first = hand.output(through, torch::zeros_like(hand.x0));
  hand.losses(through, hand.s.diffusion.estimate(first, hand.x_t, hand.t).x0.clamp(-1, 1))
      .mean()
      .backward();
  const auto constant = second->named_parameters(), whole = through->named_parameters();
  bool differs = false;
  for (const auto& item : unet->named_parameters()) {
    const torch::Tensor gradient = item.value().grad();
    EXPECT_TRUE(torch::allclose(gradient, constant[item.key()].grad(), 1e-8, 1e-11)) << item.key();
    differs |= !torch::allclose(gradient, whole[item.key()].grad(), 1e-3, 1e-6);
  }
  EXPECT_TRUE(differs);
}

TEST(SelfConditionStep, EachImageReadsItByItself) {
  nn::UNet unet = nn::moved_unet(small_config(true));
  const data::Batch batch = batch_of(400);
  const auto losses = [&](double probability, const data::Batch& of) {
    const torch::NoGradGuard no_grad;
    return unweighted_losses(*unet, settings(probability), of).per_sample;
  };
  const torch::Tensor never = losses(0, batch), always = losses(1, batch),
                      some = losses(0.5, batch);
  const torch::Tensor read = some == always;
  EXPECT_TRUE((read | (some == never)).all().item<bool>());
  // Half of 400 within 4 standard errors.
  EXPECT_NEAR(read.to(torch::kDouble).mean().item<double>(), 0.5, 0.1);
  EXPECT_TRUE(
      torch::allclose(losses(0.5, slice(batch, 100, 50)), some.narrow(0, 100, 50), 1e-9, 0));
}

std::vector<std::string> keys() { return {"model.self_condition=true", "run.seed=5"}; }

TEST(SelfConditionStep, IsReplayedFromARecordingWithTheSameBits) {
  expect_replayed_with_the_same_bits(small_experiment(keys()));
}

TEST(SelfConditionStep, ContinuesWithTheSameBits) {
  expect_continued_with_the_same_bits(small_experiment(keys()));
}

// In bfloat16 and with recomputed blocks: a weight's cast of the first pass, which has no gradient,
// must not serve the second.
TEST(SelfConditionStep, EveryWeightHasAGradientInEveryArithmetic) {
  for (const bool recompute : {false, true}) {
    nn::UNet unet = nn::moved_unet(small_config(true), torch::kFloat);
    unet->set_recompute_(recompute);
    StepSettings s = settings(0.5);
    s.precision = nn::Precision::kBf16;
    accumulate_gradient(*unet, s, batch_of(8), 1.0);
    for (const auto& item : unet->named_parameters()) {
      ASSERT_TRUE(item.value().grad().defined()) << item.key() << " " << recompute;
      EXPECT_GT(item.value().grad().abs().max().item<float>(), 0.0f) << item.key();
    }
  }
}

}  // namespace
}  // namespace ddpm::train::self_condition_step_test
