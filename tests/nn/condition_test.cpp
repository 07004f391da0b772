#include "ddpm/config/document.h"
#include "ddpm/nn/drawing_network.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/nn/unet.h"
#include "tests/nn/moved_unet.h"

#include <gtest/gtest.h>
#include <torch/types.h>

// Networks that are conditioned on a picture.

namespace ddpm::nn {
namespace {

UNetConfig conditioned_config(bool conditioned = true) {
  UNetConfig config = small_config();
  if (conditioned)
    config.condition = {diffusion::ConditionKind::kDownsample, 2, /*null_condition=*/true};
  return config;
}

UNet conditioned_unet(const UNetConfig& config = conditioned_config()) {
  UNet unet = moved_unet(config);
  unet->eval();
  return unet;
}

// Pictures 0 to 4, of 4x4.
torch::Tensor pictures() {
  return ((torch::arange(5 * 16) * 53) % 256).view({5, 1, 4, 4}).to(torch::kByte);
}
torch::Tensor pictures_of(const std::vector<int64_t>& images) {
  return pictures().index_select(0, torch::tensor(images).remainder(5));
}
torch::Tensor inputs_of(const std::vector<int64_t>& images) {
  return diffusion::condition_input(pictures_of(images), 8, 8, torch::kDouble);
}

torch::Tensor noise(int64_t count) {
  return (torch::arange(count * 64, torch::kDouble) * 0.7).sin().view({count, 1, 8, 8});
}

class ConditionedNetwork : public testing::Test {
 protected:
  UNet unet_ = conditioned_unet();
  diffusion::Diffusion diffusion_{diffusion::DiffusionConfig{}};
};

TEST_F(ConditionedNetwork, APermutedConditionPermutesTheOutput) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor x = noise(1).expand({4, 1, 8, 8}), t = torch::full({4}, 20, torch::kLong);
  const torch::Tensor order = torch::tensor({2, 0, 3, 1});
  const torch::Tensor condition = inputs_of({0, 1, 2, 3});
  const torch::Tensor output = unet_->forward(x, t, {}, condition);
  const torch::Tensor permuted = unet_->forward(x, t, {}, condition.index_select(0, order));
  // Rows of a batch are computed alike up to the order of sums.
  EXPECT_TRUE(torch::allclose(permuted, output.index_select(0, order), 1e-10, 1e-12));
  EXPECT_GT((output[0] - output[1]).abs().max().item<double>(), 1e-3) << "it is not ignored";
}

TEST_F(ConditionedNetwork, NeedsItsConditionAndNoOther) {
  const torch::Tensor t = torch::zeros({1}, torch::kLong);
  EXPECT_THROW(unet_->forward(noise(1), t), c10::Error);
  EXPECT_THROW(
      UNet(conditioned_config(false))->forward(noise(1).to(torch::kFloat), t, {}, noise(1)),
      c10::Error);
  EXPECT_THROW(DrawingNetwork(unet_, diffusion_, {.batch = 2}), c10::Error);
}

TEST_F(ConditionedNetwork, OneDenoiserGivesEveryBatchItsConditions) {
  DrawingNetwork network(unet_, diffusion_,
                         {.pictures = pictures_of, .batch = 3, .precision = Precision::kFp64});
  const diffusion::Denoiser denoiser = network.denoiser();
  for (const std::vector<int64_t>& images :
       std::vector<std::vector<int64_t>>{{0, 1, 2}, {3, 4, 5}, {1}}) {  // the last is smaller
    const auto count = static_cast<int64_t>(images.size());
    const torch::Tensor x = noise(count), t = torch::full({count}, 30, torch::kLong);
    network.set_batch_(images);
    EXPECT_TRUE(denoiser(x, t).equal(make_denoiser(unet_, diffusion_, Precision::kFp64,
                                                   {torch::Tensor(), inputs_of(images)})(x, t)));
  }
}

// guide + W (main - guide), the guide being the network with zeros in place of the condition.
TEST_F(ConditionedNetwork, IsGuidedByItselfWithoutTheCondition) {
  constexpr double kWeight = 2.5;
  const torch::Tensor x = noise(2), t = torch::full({2}, 30, torch::kLong);
  const auto of = [&](const torch::Tensor& condition) {
    return make_denoiser(unet_, diffusion_, Precision::kFp64, {torch::Tensor(), condition})(x, t);
  };
  DrawingNetwork network(unet_, diffusion_,
                         {.pictures = pictures_of,
                          .batch = 2,
                          .precision = Precision::kFp64,
                          .guidance = {.weight = kWeight}});
  network.set_batch_({3, 1});
  const torch::Tensor main = of(inputs_of({3, 1})), guide = of(torch::zeros({2, 1, 8, 8}));
  // Twice the batch may sum in another order.
  EXPECT_TRUE(
      torch::allclose(network.denoiser()(x, t), guide + kWeight * (main - guide), 1e-9, 1e-11));
}

TEST_F(ConditionedNetwork, WithoutANullConditionCannotGuideItself) {
  UNetConfig config = conditioned_config();
  config.condition.null_condition = false;
  EXPECT_THROW(DrawingNetwork(conditioned_unet(config), diffusion_,
                              {.pictures = pictures_of, .guidance = {.weight = 2.0}}),
               c10::Error);
}

// As --init-from does: further input channels of weight zero change nothing.
TEST_F(ConditionedNetwork, WithZeroWeightsIsTheUnconditionalNetwork) {
  const torch::NoGradGuard no_grad;
  UNet plain = conditioned_unet(conditioned_config(false));
  std::vector<io::NamedTensor> weights = named_weights(*plain);
  for (io::NamedTensor& w : weights)
    if (w.name == "conv_in.weight")
      w.tensor = torch::cat({w.tensor, torch::zeros({8, 1, 3, 3}, torch::kDouble)}, 1);
  load_(*unet_, weights, "test");
  const torch::Tensor x = noise(2), t = torch::full({2}, 30, torch::kLong);
  EXPECT_TRUE(torch::allclose(unet_->forward(x, t, {}, inputs_of({0, 1})), plain->forward(x, t),
                              1e-12, 1e-14));
}

std::string model_text(const UNetConfig& config) { return to_toml({config, {}, {}}); }

TEST(ConditionConfig, IsNotInTheTextOfANetworkWithoutOne) {
  EXPECT_EQ(model_text(conditioned_config(false)).find("condition ="), std::string::npos);
  EXPECT_EQ(model_text(conditioned_config(false)).find("null_condition"), std::string::npos);
  const std::string text = model_text(conditioned_config());
  config::Document document = config::Document::parse(text, "model.toml");
  EXPECT_EQ(read_model_description(document).unet, conditioned_config());
  EXPECT_NE(text.find("condition = \"downsample\"\ncondition_factor = 2\nnull_condition = true\n"),
            std::string::npos)
      << text;
}

std::string complaint(const std::string& model, const ImageSpec& image) {
  config::Document document = config::Document::parse("[model]\n" + model, "model.toml");
  config::Reader reader = document.section("model");
  try {
    UNetConfig config = read_unet_config(reader);
    fit_to_images_(config, image, reader);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(ConditionConfig, RefusesImagesThatDoNotFit) {
  const std::string small = "channel_multipliers = [1]\nattention_resolutions = []\n";
  EXPECT_EQ(complaint(small + "condition = 'grey'\n", {3, 6, 6, 0}), "");
  EXPECT_EQ(complaint(small + "condition = 'grey'\n", {1, 6, 6, 0}),
            "model.toml:4:13: model.condition: = \"grey\" needs images of 3 channels, not 1; set "
            "data.channels = 3");
  EXPECT_EQ(complaint(small + "condition = 'downsample'\ncondition_factor = 4\n", {3, 6, 6, 0}),
            "model.toml:5:20: model.condition_factor: is 4, which does not divide 6x6 images; use "
            "a divisor of both sides");
}

}  // namespace
}  // namespace ddpm::nn
