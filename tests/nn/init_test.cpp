#include "ddpm/nn/unet.h"
#include "golden.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::nn {
namespace {

UNet initialised(uint64_t seed, int64_t classes = 10) {
  UNetConfig config;
  config.image = {3, 16, 16, classes};
  config.channels = 32;
  config.channel_multipliers = {1, 2};
  config.blocks = 1;
  config.attention_resolutions = {8};
  config.groups = 8;
  config.class_conditional = classes > 0;
  UNet net(config);
  initialize_(*net, seed);
  return net;
}

bool ends_a_branch(const std::string& name) {
  return name.ends_with("conv2.weight") || name.ends_with("to_out.0.weight") ||
         name == "conv_out.weight";
}

// Ho's default_init: variance scale / mean(fan_in, fan_out), uniform; scale 1e-10 where a branch
// ends.
TEST(Initialize, DrawsHosVariances) {
  const UNet net = initialised(0);
  int branch_ends = 0;
  for (const auto& item : net->named_parameters()) {
    const torch::Tensor w = item.value().detach().to(torch::kDouble);
    if (w.dim() < 2 || item.key() == "class_embedding.weight") continue;
    const bool ends = ends_a_branch(item.key());
    branch_ends += ends;
    const double taps = w.dim() == 4 ? static_cast<double>(w.size(2) * w.size(3)) : 1.0;
    const double fan_average = 0.5 * taps * static_cast<double>(w.size(0) + w.size(1));
    const double variance = (ends ? 1e-10 : 1.0) / fan_average;
    const auto n = static_cast<double>(w.numel());
    const double bound = std::sqrt(3 * variance);
    EXPECT_LE(w.abs().max().item<double>(), bound * (1 + 1e-6)) << item.key();
    EXPECT_GT(w.abs().max().item<double>(), bound * (1 - 20 / n)) << item.key();
    // Five standard errors; that of a uniform's variance is sqrt(0.8 / n) of it.
    EXPECT_NEAR(w.mean().item<double>(), 0, 5 * std::sqrt(variance / n)) << item.key();
    EXPECT_NEAR(w.square().mean().item<double>(), variance, 5 * variance * std::sqrt(0.8 / n))
        << item.key();
  }
  // 2 levels x (1 down + 2 up) + 2 in the middle blocks, attention 1 + 1 + 2, and the network's.
  EXPECT_EQ(branch_ends, 8 + 4 + 1);
}

TEST(Initialize, SetsBiasesNormsAndClassVectors) {
  const UNet net = initialised(0);
  for (const auto& item : net->named_parameters()) {
    const torch::Tensor p = item.value().detach();
    if (p.dim() == 1) {
      const double expected = item.key().ends_with("weight") ? 1.0 : 0.0;
      EXPECT_TRUE((p == expected).all().item<bool>()) << item.key();
      if (expected == 1.0) {
        EXPECT_NE(item.key().find("norm"), std::string::npos) << item.key();
      }
    }
  }
  const torch::Tensor vectors = net->named_parameters()["class_embedding.weight"].detach();
  const auto n = static_cast<double>(vectors.numel());
  EXPECT_NEAR(vectors.mean().item<double>(), 0, 5 / std::sqrt(n));
  EXPECT_NEAR(vectors.square().mean().item<double>(), 1, 5 * std::sqrt(2 / n));
}

TEST(Initialize, IsAFunctionOfTheSeed) {
  const auto a = initialised(7)->named_parameters(), b = initialised(7)->named_parameters(),
             other = initialised(8)->named_parameters();
  for (const auto& item : a) {
    EXPECT_TRUE(item.value().equal(b[item.key()])) << item.key();
    if (item.value().dim() > 1) {
      EXPECT_FALSE(item.value().equal(other[item.key()])) << item.key();
    }
  }
}

TEST(Initialize, GivesEveryLayerItsOwnNumbers) {
  const auto parameters = initialised(7)->named_parameters();
  for (const auto& a : parameters) {
    for (const auto& b : parameters) {
      if (a.key() == b.key() || a.value().dim() < 2 || a.value().sizes() != b.value().sizes())
        continue;
      EXPECT_FALSE((a.value() / a.value().std()).allclose(b.value() / b.value().std()))
          << a.key() << " " << b.key();
    }
  }
}

TEST(Initialize, GivesFloat64TheSameNumbers) {
  UNet single = initialised(7), twice(single->config());
  twice->to(torch::kDouble);
  initialize_(*twice, 7);
  for (const auto& item : twice->named_parameters())
    EXPECT_TRUE(single->named_parameters()[item.key()].equal(item.value().to(torch::kFloat)));
}

TEST(Initialize, KeepsTheMemoryFormat) {
  UNet net(initialised(7)->config());
  use_channels_last_(*net);
  initialize_(*net, 7);
  const auto plain = initialised(7)->named_parameters();
  for (const auto& item : net->named_parameters()) {
    EXPECT_TRUE(item.value().equal(plain[item.key()])) << item.key();
    if (item.value().dim() == 4) {
      EXPECT_TRUE(item.value().is_contiguous(at::MemoryFormat::ChannelsLast)) << item.key();
    }
  }
}

// The last convolution's weights have a standard deviation of 1e-5 / sqrt(fan average) and sum over
// fan-in features of order 1: about 1e-5 an output.
TEST(Initialize, StartsTheNetworkAtAlmostZero) {
  UNet net = initialised(3);
  const torch::Tensor x = torch::randn({4, 3, 16, 16});
  const torch::Tensor t = torch::tensor({int64_t{0}, int64_t{10}, int64_t{500}, int64_t{999}});
  const torch::Tensor output = net(x, t, torch::zeros({4}, torch::kLong));
  EXPECT_LT(output.abs().max().item<double>(), 1e-4);
  EXPECT_GT(output.abs().max().item<double>(), 1e-7);
}

TEST(Initialize, StartsEveryBranchAtAlmostZero) {
  UNet net = initialised(3);
  const auto modules = net->named_modules();
  const torch::Tensor h = torch::randn({2, 64, 8, 8}), temb = torch::randn({2, 128});
  const torch::Tensor attended =
      modules["mid_block.attentions.0"]->as<AttentionBlock>()->forward(h);
  EXPECT_LT((attended - h).abs().max().item<double>(), 1e-3);
  EXPECT_FALSE(attended.equal(h));
  const torch::Tensor passed = modules["mid_block.resnets.0"]->as<ResnetBlock>()->forward(h, temb);
  EXPECT_LT((passed - h).abs().max().item<double>(), 1e-3);
  EXPECT_FALSE(passed.equal(h));
}

}  // namespace
}  // namespace ddpm::nn
