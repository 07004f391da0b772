#include "ddpm/nn/unet.h"

#include "ddpm/nn/precision.h"
#include "golden.h"

#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace ddpm::nn {
namespace {

int64_t count_of(const ImageSpec& image, int64_t channels, std::vector<int64_t> multipliers,
                 const std::vector<int64_t>& attended) {
  UNetConfig config;
  config.image = image;
  config.channels = channels;
  config.channel_multipliers = std::move(multipliers);
  set_attention_levels_(config, attended);
  return parameter_count(*UNet(config));
}

// Counted by hand from the layer lists of Ho's run_cifar.py and run_lsun.py and of DDIM's
// celeba.yml; the paper rounds the first and the third to 35.7M and 114M (App. B).
TEST(ParameterCount, IsThePapers) {
  EXPECT_EQ(count_of({3, 32, 32}, 128, {1, 2, 2, 2}, {1}), 35'746'307);           // CIFAR-10
  EXPECT_EQ(count_of({3, 64, 64}, 128, {1, 2, 2, 2, 4}, {2}), 78'700'803);        // CelebA
  EXPECT_EQ(count_of({3, 256, 256}, 128, {1, 1, 2, 2, 4, 4}, {4}), 113'673'219);  // 256x256
  EXPECT_EQ(count_of({1, 32, 32}, 64, {1, 2, 2}, {1}), 6'469'889);
}

TEST(UNet, TreatsEachImageByItself) {
  for (const std::string& name : kGoldenNets) {
    Golden golden = load_golden(name);
    const torch::Tensor x = golden.get("x"), t = golden.get("t"), labels = golden.labels();
    const torch::Tensor both = golden.net(x, t, labels);
    for (int64_t i = 0; i < 2; ++i) {
      const torch::Tensor label = labels.defined() ? labels.slice(0, i, i + 1) : labels;
      const torch::Tensor one = golden.net(x.slice(0, i, i + 1), t.slice(0, i, i + 1), label);
      EXPECT_LT(relative_error(one[0], both[i]), 1e-12) << name;
    }
  }
}

TEST(UNet, AnswersToTimeAndClass) {
  Golden golden = load_golden("classes");
  const torch::Tensor x = golden.get("x"), t = golden.get("t"), labels = golden.labels();
  const torch::Tensor output = golden.net(x, t, labels);
  EXPECT_GT(relative_error(golden.net(x, t + 1, labels), output), 1e-4);
  EXPECT_GT(relative_error(golden.net(x, t, (labels + 1) % 5), output), 1e-4);
}

// An image that differs by less than bfloat16 resolves near 1, 2^-7, is another image; and of 100
// float32 numbers few are bfloat16's by chance.
TEST(UNet, FirstAndLastConvolutionAreFloat32UnderAutocast) {
  torch::manual_seed(0);
  UNetConfig config = load_golden("ho").config;
  config.dropout = 0.0;
  UNet net(config);
  const torch::NoGradGuard no_grad;
  for (torch::Tensor& p : net->parameters()) p.uniform_(-0.2, 0.2);  // the last begins with zeros
  const torch::Tensor t = torch::zeros({1}, torch::kLong), one = torch::ones({1, 3, 8, 12});
  const AutocastGuard autocast(torch::kCPU, Precision::kBf16);
  const torch::Tensor output = net(one, t);
  ASSERT_EQ(output.scalar_type(), torch::kFloat);
  EXPECT_LT((output.to(torch::kBFloat16).to(torch::kFloat) == output).sum().item<int>(),
            output.numel() / 4);
  EXPECT_FALSE(torch::equal(net(one + 0x1p-9, t), output));
  EXPECT_TRUE(at::autocast::is_autocast_enabled(torch::kCPU));
}

TEST(UNet, DropsOutOnlyInTraining) {
  UNetConfig config = load_golden("ho").config;
  config.dropout = 0.5;
  UNet net(config);
  const torch::Tensor x = torch::ones({1, 3, 8, 12}), t = torch::zeros({1}, torch::kLong);
  EXPECT_FALSE(net(x, t).equal(net(x, t)));
  net->eval();
  EXPECT_TRUE(net(x, t).equal(net(x, t)));
}

// Two draws of which half the features are dropped agree on the average, or the scale is wrong.
TEST(UNet, DropoutKeepsTheMean) {
  ResnetBlockConfig config{8, 8, 4, 4, 1e-6, 0.5};
  ResnetBlock block(config);
  const torch::Tensor x = torch::randn({1, 8, 4, 4}), temb = torch::zeros({1, 4});
  const torch::NoGradGuard no_grad;
  torch::Tensor draws = block(x.expand({20000, 8, 4, 4}), temb.expand({20000, 4}));
  block->eval();
  const torch::Tensor error = (draws.mean(0) - block(x, temb)[0]).abs();
  // Six standard errors of each element's mean.
  EXPECT_TRUE((error <= 6 * draws.std(0) / std::sqrt(20000.0) + 1e-6).all().item<bool>());
}

TEST(UNet, RefusesWrongShapesAndMissingLabels) {
  Golden plain = load_golden("ho"), classes = load_golden("classes");
  const torch::Tensor x = plain.get("x"), t = plain.get("t");
  EXPECT_THROW(plain.net(x.slice(1, 0, 2), t), c10::Error);
  EXPECT_THROW(plain.net(x, t.slice(0, 0, 1)), c10::Error);
  EXPECT_THROW(plain.net(x, t, torch::zeros({2}, torch::kLong)), c10::Error);
  EXPECT_THROW(classes.net(classes.get("x"), classes.get("t")), c10::Error);
}

TEST(Downsample, PadsBelowAndRightAsTensorFlow) {
  Downsample same(1, true), symmetric(1, false);
  const torch::NoGradGuard no_grad;
  for (Downsample down : {same, symmetric}) {
    for (auto& p : down->parameters()) p.zero_();
    down->named_parameters()["conv.weight"].index_put_({0, 0, 0, 0}, 1.0);  // picks a corner
  }
  const torch::Tensor x = torch::arange(16.0).view({1, 1, 4, 4});
  EXPECT_TRUE(same(x).equal(torch::tensor({0.0f, 2.0f, 8.0f, 10.0f}).view({1, 1, 2, 2})));
  EXPECT_TRUE(symmetric(x).equal(torch::tensor({0.0f, 0.0f, 0.0f, 5.0f}).view({1, 1, 2, 2})));
}

TEST(Upsample, RepeatsEveryPixelFourTimes) {
  Upsample up(1);
  const torch::NoGradGuard no_grad;
  for (auto& p : up->parameters()) p.zero_();
  up->named_parameters()["conv.weight"].index_put_({0, 0, 1, 1}, 1.0);  // the identity
  const torch::Tensor x = torch::tensor({1.0f, 2.0f}).view({1, 1, 1, 2});
  EXPECT_TRUE(up(x).equal(
      torch::tensor({1.0f, 1.0f, 2.0f, 2.0f, 1.0f, 1.0f, 2.0f, 2.0f}).view({1, 1, 2, 4})));
}

// Permuting the pixels permutes the result: attention knows no positions.
TEST(AttentionBlock, IsEquivariantToPermutationsOfPixels) {
  AttentionBlock block(AttentionBlockConfig{8, 2, 4, 1e-6});
  block->to(torch::kDouble);
  const torch::Tensor x = torch::randn({2, 8, 3, 4}, torch::kDouble);
  const torch::Tensor order = torch::randperm(12);
  const auto permute = [&](const torch::Tensor& image) {
    return image.flatten(2).index_select(2, order).view({2, 8, 3, 4});
  };
  EXPECT_LT(relative_error(block(permute(x)), permute(block(x))), 1e-12);
}

}  // namespace
}  // namespace ddpm::nn
