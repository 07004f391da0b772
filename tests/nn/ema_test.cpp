#include "ddpm/nn/ema.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace ddpm::nn {
namespace {

EmaConfig read(const std::string& text) {
  config::Document document = config::Document::parse("[ema]\n" + text, "run.toml");
  config::Reader reader = document.section("ema");
  return config::read<EmaConfig>(reader);
}

void set_all(torch::nn::Module& module, double value) {
  const torch::NoGradGuard no_grad;
  for (torch::Tensor& p : module.parameters()) p.fill_(value);
}

TEST(EmaConfig, ReadsOneDecayOrSeveral) {
  EXPECT_EQ(read("").decays, (std::vector<double>{0.9999}));
  EXPECT_EQ(read("decay = 0.99").decays, (std::vector<double>{0.99}));
  EXPECT_EQ(read("decay = [0.999, 0]").decays, (std::vector<double>{0.999, 0.0}));
  EXPECT_FALSE(read("warmup = false").warmup);
  EXPECT_THROW(read("decay = 1.0"), ConfigError);
  EXPECT_THROW(read("decay = []"), ConfigError);
}

TEST(EmaConfig, HasNoPowerLengthsByDefault) {
  EXPECT_TRUE(read("").power_lengths.empty());
  EXPECT_EQ(read("").snapshot_interval(1000), 0);
  EXPECT_EQ(read("snapshot_every = 10").snapshot_interval(1000), 0);
  const EmaConfig two = read("power_lengths = [0.05, 0.1]");
  EXPECT_EQ(two.power_lengths, (std::vector<double>{0.05, 0.1}));
  EXPECT_EQ(two.snapshot_interval(1000), 25);
  EXPECT_EQ(two.snapshot_interval(12), 1);
  EXPECT_EQ(two.snapshot_interval(41), 2) << "at most 40 snapshots";
  EXPECT_EQ(read("power_lengths = 0.05\nsnapshot_every = 10").snapshot_interval(1000), 10);
  for (const char* wrong : {"[0.05, 0.05]", "[0.3]", "0", "-0.1"})
    EXPECT_THROW(read(std::string("power_lengths = ") + wrong), ConfigError) << wrong;
  EXPECT_THROW(read("snapshot_every = -1"), ConfigError);
}

TEST(Ema, WarmsUpToItsDecay) {
  EXPECT_EQ(decay_at(0.9999, true, 1), 2.0 / 11.0);
  EXPECT_EQ(decay_at(0.9999, true, 90), 0.91);
  EXPECT_EQ(decay_at(0.9999, true, 1'000'000), 0.9999);
  EXPECT_EQ(decay_at(0.9999, false, 1), 0.9999);
}

// The average of constant parameters 0, begun at 1, is the share of its beginning.
TEST(Ema, KnowsHowMuchOfItsBeginningIsLeft) {
  for (const bool warmup : {false, true}) {
    for (const double decay : {0.0, 0.5, 0.999, 0.9999}) {
      const std::vector<torch::Tensor> zero{torch::zeros({}, torch::kDouble)};
      Ema ema({torch::ones({}, torch::kDouble)}, decay, warmup);
      for (int64_t n = 1; n <= 200; ++n) {
        EXPECT_NEAR(initial_share(decay, warmup, n - 1), ema.averages()[0].item<double>(), 1e-12)
            << decay << ", " << n - 1 << " updates";
        ema.update_(zero, n);
      }
    }
  }
  EXPECT_NEAR(initial_share(0.9999, false, 10000), std::exp(-1.0), 1e-4);
  EXPECT_LT(initial_share(0.9999, true, 10000), 1e-12);
  EXPECT_EQ(initial_share(0.9999, true, int64_t{1} << 60), 0.0);
}

// A weight in a tensor takes other code than a number does: it must not show in the averages of
// runs that go on.
TEST(Ema, HasTheBitsOfAtensKernelThatTakesANumber) {
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    std::vector<torch::Tensor> parameters{torch::linspace(-3, 2, 7 * 5 * 3 * 3, type)
                                              .view({7, 5, 3, 3})
                                              .contiguous(torch::MemoryFormat::ChannelsLast),
                                          torch::linspace(-1, 1, 1013, type),
                                          torch::full({}, 0.3, type)};
    Ema ema(parameters, 0.999, true);
    std::vector<torch::Tensor> expected;
    for (const torch::Tensor& p : parameters) expected.push_back(p.clone());
    for (int64_t n = 1; n <= 30; ++n) {  // weights above and below 1/2
      for (torch::Tensor& p : parameters) p.mul_(0.97).add_(0.1);
      ema.update_(parameters, n);
      at::_foreach_lerp_(expected, parameters, 1.0 - decay_at(0.999, true, n));
    }
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_TRUE(ema.averages()[i].equal(expected[i])) << "tensor " << i;
  }
}

// Constant parameters p after a start at a: p + (a - p) decay^n.
TEST(Ema, ApproachesConstantParametersGeometrically) {
  torch::nn::Linear module(2, 3);
  module->to(torch::kDouble);
  set_all(*module, 5.0);
  Ema ema(module->parameters(), 0.9, false);
  set_all(*module, 1.0);
  for (int64_t n = 1; n <= 20; ++n) {
    ema.update_(module->parameters(), n);
    for (const torch::Tensor& average : ema.averages())
      EXPECT_NEAR(average.max().item<double>(), 1.0 + 4.0 * std::pow(0.9, n), 1e-12);
  }
}

TEST(Ema, FollowsItsRecursionDuringWarmUp) {
  torch::nn::Linear module(2, 3);
  module->to(torch::kDouble);
  Ema ema(module->parameters(), 0.99, true);
  torch::Tensor expected = module->weight.detach().clone();
  for (int64_t n = 1; n <= 50; ++n) {
    const torch::NoGradGuard no_grad;
    module->weight.normal_();
    ema.update_(module->parameters(), n);
    const double decay = std::min(0.99, (1.0 + n) / (10.0 + n));
    expected = decay * expected + (1.0 - decay) * module->weight;
  }
  EXPECT_TRUE(ema.averages()[0].allclose(expected, 1e-12, 1e-12));
}

TEST(Ema, WithoutDecayIsTheParameters) {
  torch::nn::Linear module(2, 3);
  Ema ema(module->parameters(), 0.0, false);
  set_all(*module, 7.0);
  ema.update_(module->parameters(), 1);
  EXPECT_TRUE(ema.averages()[0].equal(module->weight.detach()));
}

TEST(Ema, LeavesTheParametersAndTheirGradientsAlone) {
  torch::nn::Linear module(2, 3);
  const torch::Tensor before = module->weight.detach().clone();
  Ema ema(module->parameters(), 0.5, false);
  ema.update_(module->parameters(), 1);
  EXPECT_TRUE(module->weight.equal(before));
  EXPECT_FALSE(ema.averages()[0].requires_grad());
  EXPECT_NE(ema.averages()[0].data_ptr(), module->weight.data_ptr());
}

TEST(WeightSwap, LastsAsLongAsItLives) {
  torch::nn::Linear module(2, 3);
  const torch::Tensor parameter = module->weight;  // as an optimizer holds it
  const void* own_memory = parameter.data_ptr();
  const torch::Tensor before = parameter.detach().clone();
  Ema ema(module->parameters(), 0.5, false);
  set_all(*module, 3.0);
  ema.update_(module->parameters(), 1);
  {
    const WeightSwap swap(*module, ema.averages());
    EXPECT_TRUE(parameter.equal(ema.averages()[0]));
    EXPECT_FALSE(parameter.equal(torch::full({3, 2}, 3.0)));
  }
  EXPECT_TRUE(parameter.equal(torch::full({3, 2}, 3.0)));
  EXPECT_EQ(parameter.data_ptr(), own_memory);
  EXPECT_TRUE(parameter.requires_grad());
  EXPECT_TRUE(ema.averages()[0].allclose(0.5 * before + 1.5));
}

TEST(WeightSwap, EndsWithAnException) {
  torch::nn::Linear module(2, 3);
  const torch::Tensor before = module->weight.detach().clone();
  const std::vector<torch::Tensor> zeros{torch::zeros({3, 2}), torch::zeros({3})};
  try {
    const WeightSwap swap(*module, zeros);
    throw std::runtime_error("sampling failed");
  } catch (const std::runtime_error&) {
  }
  EXPECT_TRUE(module->weight.equal(before));
  EXPECT_THROW(WeightSwap(*module, {}), c10::Error);
}

}  // namespace
}  // namespace ddpm::nn
