#include "ddpm/train/optimizer.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>
#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>

namespace ddpm::train {
namespace {

// A deterministic gradient of some size for step k and parameter p.
torch::Tensor gradient(const torch::Tensor& p, int k) {
  return (torch::arange(p.numel(), torch::kDouble).view_as(p) * (k + 1)).sin() * 3.0;
}

std::vector<torch::Tensor> parameters() {
  return {torch::linspace(-1, 1, 12, torch::kDouble).view({3, 4}).requires_grad_(),
          torch::linspace(0, 2, 5, torch::kDouble).requires_grad_()};
}

template <class Reference, class Options>
void expect_equals(const OptimizerConfig& config, Options options) {
  auto ours = parameters(), theirs = parameters();
  Optimizer optimizer(ours, config);
  Reference reference(theirs, options.betas(std::make_tuple(config.beta1, config.beta2))
                                  .eps(config.eps)
                                  .weight_decay(config.weight_decay));
  for (int k = 0; k < 20; ++k) {
    const double lr = 1e-2 / (k + 1);
    for (size_t i = 0; i < ours.size(); ++i) {
      ours[i].mutable_grad() = gradient(ours[i], k);
      theirs[i].mutable_grad() = gradient(theirs[i], k);
    }
    if (config.grad_clip > 0) torch::nn::utils::clip_grad_norm_(theirs, config.grad_clip);
    static_cast<Options&>(reference.param_groups()[0].options()).lr(lr);
    reference.step();
    optimizer.step_(lr);
  }
  for (size_t i = 0; i < ours.size(); ++i) {
    // clip_grad_norm_ divides by norm + 1e-6, we by norm: 1e-6 / norm of a gradient that Adam
    // rescales anyway.
    EXPECT_LT((ours[i] - theirs[i]).abs().max().item<double>(),
              config.grad_clip > 0 ? 1e-8 : 1e-14);
  }
}

TEST(Optimizer, AdamEqualsLibTorchsOwn) {
  OptimizerConfig config;
  config.grad_clip = 0.0;
  expect_equals<torch::optim::Adam>(config, torch::optim::AdamOptions());
}

TEST(Optimizer, AdamWithClippingEqualsLibTorchsOwn) {
  OptimizerConfig config;
  config.grad_clip = 1.0;
  expect_equals<torch::optim::Adam>(config, torch::optim::AdamOptions());
}

TEST(Optimizer, AdamWEqualsLibTorchsOwn) {
  OptimizerConfig config;
  config.decoupled = true;
  config.weight_decay = 0.1;
  config.grad_clip = 0.0;
  expect_equals<torch::optim::AdamW>(config, torch::optim::AdamWOptions());
}

TEST(Optimizer, ReportsTheNormBeforeClipping) {
  auto p = parameters();
  Optimizer optimizer(p, {});
  for (auto& x : p) x.mutable_grad() = torch::full_like(x, 2.0);
  EXPECT_NEAR(optimizer.step_(1e-3).grad_norm.item<double>(), 2.0 * std::sqrt(17.0), 1e-12);
}

TEST(Optimizer, ANonFiniteGradientChangesNothing) {
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    auto p = parameters();
    Optimizer optimizer(p, {});
    const auto set_gradients = [&] {
      for (size_t i = 0; i < p.size(); ++i) p[i].mutable_grad() = gradient(p[i], 0);
    };
    set_gradients();
    optimizer.step_(1e-2);
    std::vector<torch::Tensor> before;
    for (const auto* tensors : {&optimizer.first_moments(), &optimizer.second_moments()}) {
      for (const auto& t : *tensors) before.push_back(t.clone());
    }
    for (const auto& t : p) before.push_back(t.detach().clone());
    set_gradients();
    p[1].mutable_grad()[2] = bad;
    EXPECT_EQ(optimizer.step_(1e-2).skipped.item<float>(), 1.0f);
    size_t i = 0;
    for (const auto* tensors : {&optimizer.first_moments(), &optimizer.second_moments()}) {
      for (const auto& t : *tensors) EXPECT_TRUE(torch::equal(t, before[i++]));
    }
    for (const auto& t : p) EXPECT_TRUE(torch::equal(t, before[i++]));
    EXPECT_EQ(optimizer.updates().item<float>(), 1.0f);
    set_gradients();
    EXPECT_EQ(optimizer.step_(1e-2).skipped.item<float>(), 0.0f);
    EXPECT_EQ(optimizer.updates().item<float>(), 2.0f);
  }
}

// A rate in a tensor takes other code than a number does: it must not show in the weights of runs
// that go on.
TEST(Optimizer, HasTheBitsOfAtensKernelThatTakesANumber) {
  for (const bool decoupled : {false, true}) {
    OptimizerConfig config;
    config.grad_clip = 0.0;
    config.weight_decay = 0.01;
    config.decoupled = decoupled;
    const auto start = [] {
      return std::vector<torch::Tensor>{torch::linspace(-1, 1, 1013), torch::linspace(0, 2, 5)};
    };
    std::vector<torch::Tensor> ours = start(), theirs = start(), first, second;
    for (const torch::Tensor& p : theirs) {
      first.push_back(torch::zeros_like(p));
      second.push_back(torch::zeros_like(p));
    }
    Optimizer optimizer(ours, config);
    const torch::Tensor count = torch::zeros({});
    for (int k = 0; k < 10; ++k) {
      const double lr = 1e-2 / (k + 3);  // no float32 number
      std::vector<torch::Tensor> gradients;
      for (size_t i = 0; i < ours.size(); ++i) {
        gradients.push_back(gradient(ours[i], k).to(torch::kFloat));
        ours[i].mutable_grad() = gradients[i].clone();
      }
      optimizer.step_(lr);
      count.add_(1);
      const std::vector<torch::Tensor> counts(theirs.size(), count);
      using List = at::TensorList;
      using Scale = const std::optional<torch::Tensor>&;
      using Kernel = void (*)(List, List, List, List, List, List, double, double, double, double,
                              double, bool, bool, Scale, Scale);
      const Kernel kernel = decoupled ? Kernel(&at::_fused_adamw_) : Kernel(&at::_fused_adam_);
      kernel(theirs, gradients, first, second, {}, counts, lr, config.beta1, config.beta2,
             config.weight_decay, config.eps, false, false, {}, {});
    }
    for (size_t i = 0; i < ours.size(); ++i) EXPECT_TRUE(ours[i].equal(theirs[i])) << i;
  }
}

// torch.optim.lr_scheduler of PyTorch 2.11 with lr = 1: CosineAnnealingLR(T_max=8) and
// LinearLR(1.0, 0.0, 8), one number per update.
TEST(LearningRate, DecaysAsPyTorchsSchedulersAndIsNever0) {
  const std::vector<double> cosine{
      1.0, 0.9619397662556434,  0.8535533905932737,  0.6913417161825449,
      0.5, 0.30865828381745514, 0.14644660940672627, 0.03806023374435664};
  const std::vector<double> linear{1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125};
  for (const int64_t warmup : {0, 3}) {
    OptimizerConfig config;
    config.lr = 1.0;
    config.warmup_steps = warmup;
    for (int64_t k = 0; k < 8; ++k) {
      config.decay = LrDecay::kCosine;
      EXPECT_NEAR(learning_rate(config, warmup + 1 + k, warmup + 8), cosine[k], 1e-15) << k;
      config.decay = LrDecay::kLinear;
      EXPECT_NEAR(learning_rate(config, warmup + 1 + k, warmup + 8), linear[k], 1e-15) << k;
    }
  }
  OptimizerConfig config;
  config.decay = LrDecay::kCosine;
  for (const int64_t total : {1, 2, 100, 800000}) {
    for (const int64_t warmup : {0, 1, 99, 800000}) {
      config.warmup_steps = warmup;
      EXPECT_GT(learning_rate(config, total, total), 0.0) << total << ", warm-up " << warmup;
    }
  }
}

TEST(LearningRate, InverseSqrtAndStableHaveThePapersFormulas) {
  OptimizerConfig config{.lr = 0.01, .warmup_steps = 4};
  config.decay = LrDecay::kInverseSqrt;
  config.decay_steps = 25;
  EXPECT_DOUBLE_EQ(learning_rate(config, 2, 1000), 0.005);  // warm-up
  EXPECT_DOUBLE_EQ(learning_rate(config, 25, 1000), 0.01);
  EXPECT_DOUBLE_EQ(learning_rate(config, 100, 1000), 0.005);
  EXPECT_DOUBLE_EQ(learning_rate(config, 400, 1000), 0.0025);
  config.decay = LrDecay::kStable;
  EXPECT_DOUBLE_EQ(learning_rate(config, 976, 1000), 0.01);  // the first of the last 25
  EXPECT_DOUBLE_EQ(learning_rate(config, 977, 1000), 0.01 * (1 - 0.2));
  EXPECT_DOUBLE_EQ(learning_rate(config, 992, 1000), 0.01 * (1 - 0.8));
  EXPECT_GT(learning_rate(config, 1000, 1000), 0.0);
  EXPECT_DOUBLE_EQ(learning_rate(config, 500, 1000), 0.01);
  config.decay_steps = 0;  // a tenth
  EXPECT_DOUBLE_EQ(learning_rate(config, 901, 1000), 0.01);
  EXPECT_DOUBLE_EQ(learning_rate(config, 926, 1000), 0.005);
}

TEST(LearningRate, RisesLinearlyThenFollowsItsDecay) {
  OptimizerConfig config;
  config.lr = 2e-4;
  config.warmup_steps = 5000;
  EXPECT_DOUBLE_EQ(learning_rate(config, 1, 800000), 4e-8);
  EXPECT_DOUBLE_EQ(learning_rate(config, 2500, 800000), 1e-4);
  EXPECT_DOUBLE_EQ(learning_rate(config, 5000, 800000), 2e-4);
  EXPECT_DOUBLE_EQ(learning_rate(config, 800000, 800000), 2e-4);
  config.decay = LrDecay::kCosine;
  EXPECT_DOUBLE_EQ(learning_rate(config, 402501, 800000), 1e-4);
  config.decay = LrDecay::kLinear;
  EXPECT_DOUBLE_EQ(learning_rate(config, 402501, 800000), 1e-4);
}

TEST(LearningRate, WithoutWarmUpStartsFull) { EXPECT_DOUBLE_EQ(learning_rate({}, 1, 100), 2e-4); }

}  // namespace
}  // namespace ddpm::train
