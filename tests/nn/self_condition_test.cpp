#include "ddpm/config/document.h"
#include "ddpm/diffusion/self_conditioning.h"
#include "ddpm/nn/drawing_network.h"
#include "ddpm/nn/model_file.h"
#include "tests/nn/moved_unet.h"

#include <gtest/gtest.h>
#include <torch/types.h>

// Networks that read their former estimate of x0.

namespace ddpm::nn::self_condition_test {
namespace {

UNetConfig own_config(bool self_condition = true) {
  UNetConfig config = small_config(3);
  config.class_conditional = config.null_class = true;
  config.self_condition = self_condition;
  return config;
}

UNet evaluated(const UNetConfig& config) {
  UNet unet = moved_unet(config);
  unet->eval();
  return unet;
}

torch::Tensor noise(int64_t count, double phase = 0) {
  return (torch::arange(count * 64, torch::kDouble) * 0.7 + phase).sin().view({count, 1, 8, 8});
}

torch::Tensor at(int64_t count, int64_t t) { return torch::full({count}, t, torch::kLong); }

class SelfConditionedNetwork : public testing::Test {
 protected:
  Drawing drawing(const diffusion::Guidance& guidance = {}, UNet guide = nullptr) const {
    return {.classes = {2, 0, 1},
            .batch = 3,
            .precision = Precision::kFp64,
            .guidance = guidance,
            .guide = std::move(guide)};
  }
  // One call with this estimate.
  torch::Tensor output(const torch::Tensor& x, int64_t t, const std::vector<int64_t>& labels,
                       const torch::Tensor& estimate) {
    return make_denoiser(unet_, diffusion_, Precision::kFp64,
                         {torch::tensor(labels), {}, estimate})(x, at(x.size(0), t));
  }
  torch::Tensor estimate_of(const torch::Tensor& output, const torch::Tensor& x, int64_t t) const {
    return diffusion_.estimate(output, x, t).x0.clamp(-1, 1);
  }

  UNet unet_ = evaluated(own_config());
  diffusion::Diffusion diffusion_{diffusion::DiffusionConfig{}};
};

TEST_F(SelfConditionedNetwork, ReadsTheEstimateAsItsLastChannels) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor x = noise(2), own = noise(2, 1.0), labels = torch::tensor({0, 2});
  const torch::Tensor found = output(x, 30, {0, 2}, own);
  EXPECT_TRUE(found.equal(unet_->forward(x, at(2, 29), labels, own)));
  EXPECT_GT((found - output(x, 30, {0, 2}, {})).abs().max().item<double>(), 1e-3);
  EXPECT_TRUE(output(x, 30, {0, 2}, {}).equal(output(x, 30, {0, 2}, torch::zeros_like(x))));
  // After those of a condition.
  UNetConfig both = own_config();
  both.condition = {diffusion::ConditionKind::kDownsample, 2, false};
  const torch::Tensor picture = noise(2, 2.0);
  EXPECT_TRUE(whole_condition(both, x, picture, own).equal(torch::cat({picture, own}, 1)));
  EXPECT_EQ(input_channels(both), 3);
  EXPECT_FALSE(whole_condition(own_config(false), x, {}, own).defined());
}

TEST_F(SelfConditionedNetwork, EachCallOfABatchReadsTheEstimateOfTheOneBefore) {
  DrawingNetwork network(unet_, diffusion_, drawing());
  const diffusion::Denoiser denoiser = network.denoiser();
  for (const std::vector<int64_t>& images : std::vector<std::vector<int64_t>>{{0, 1, 2}, {4, 5}}) {
    const auto count = static_cast<int64_t>(images.size());
    std::vector<int64_t> labels;
    for (const int64_t image : images) labels.push_back(std::vector<int64_t>{2, 0, 1}[image % 3]);
    network.set_batch_(images);
    torch::Tensor own = torch::zeros({count, 1, 8, 8}, torch::kDouble);
    for (const int64_t t : {900, 500, 100}) {
      const torch::Tensor x = noise(count, static_cast<double>(t));
      const torch::Tensor expected = output(x, t, labels, own);
      EXPECT_TRUE(denoiser(x, at(count, t)).equal(expected)) << t;
      own = estimate_of(expected, x, t);
    }
  }
}

// Both halves read the estimate of the guided output.
TEST_F(SelfConditionedNetwork, GuidanceGivesBothHalvesTheGuidedEstimate) {
  constexpr double kWeight = 2.5;
  DrawingNetwork network(unet_, diffusion_, drawing({.weight = kWeight}));
  network.set_batch_({0, 1});
  torch::Tensor own = torch::zeros({2, 1, 8, 8}, torch::kDouble);
  for (const int64_t t : {900, 500, 100}) {
    const torch::Tensor x = noise(2, static_cast<double>(t));
    const torch::Tensor main = output(x, t, {2, 0}, own), guide = output(x, t, {3, 3}, own);
    const torch::Tensor guided = guide + kWeight * (main - guide);
    // Twice the batch may sum in another order.
    EXPECT_TRUE(torch::allclose(network.denoiser()(x, at(2, t)), guided, 1e-9, 1e-11)) << t;
    own = estimate_of(guided, x, t);
  }
}

TEST_F(SelfConditionedNetwork, ASecondNetworkReadsItIfItCan) {
  for (const bool guide_reads : {false, true}) {
    const UNet guide = evaluated(own_config(guide_reads));
    DrawingNetwork network(unet_, diffusion_, drawing({.weight = 0.0}, guide));
    network.set_batch_({0, 1});
    const torch::Tensor x = noise(2), labels = torch::tensor({2, 0});
    const torch::Tensor first = network.denoiser()(x, at(2, 700));
    const torch::Tensor own = estimate_of(first, x, 700);
    const torch::Tensor expected =
        make_denoiser(guide, diffusion_, Precision::kFp64, {labels, {}, own})(x, at(2, 300));
    EXPECT_TRUE(network.denoiser()(x, at(2, 300)).equal(expected)) << guide_reads;
  }
}

// As --init-from does: further input channels of weight zero change nothing.
TEST_F(SelfConditionedNetwork, WithZeroWeightsIsTheNetworkWithoutAnEstimate) {
  UNet plain = evaluated(own_config(false));
  std::vector<io::NamedTensor> weights = named_weights(*plain);
  for (io::NamedTensor& w : weights)
    if (w.name == "conv_in.weight")
      w.tensor = torch::cat({w.tensor, torch::zeros({8, 1, 3, 3}, torch::kDouble)}, 1);
  load_(*unet_, weights, "test");
  DrawingNetwork with(unet_, diffusion_, drawing()), without(plain, diffusion_, drawing());
  with.set_batch_({0, 1, 2}), without.set_batch_({0, 1, 2});
  torch::Tensor x = noise(3);
  for (const int64_t t : {900, 500, 100}) {  // a chain: each output is the next input
    const torch::Tensor a = with.denoiser()(x, at(3, t)), b = without.denoiser()(x, at(3, t));
    EXPECT_TRUE(a.equal(b)) << t << ": " << (a - b).abs().max().item<double>();
    x = 0.5 * x + 0.5 * a;
  }
}

TEST(SelfConditionConfig, IsNotInTheTextOfANetworkWithoutIt) {
  const auto text = [](bool self) { return to_toml({own_config(self), {}, {}}); };
  EXPECT_EQ(text(false).find("self_condition"), std::string::npos);
  config::Document document = config::Document::parse(text(true), "model.toml");
  EXPECT_EQ(read_model_description(document).unet, own_config(true));
}

}  // namespace
}  // namespace ddpm::nn::self_condition_test
