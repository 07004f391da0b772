#include "ddpm/diffusion/self_conditioning.h"
#include "ddpm/sample/generate.h"
#include "ddpm/sample/methods.h"
#include "src/sample/graphed_denoiser.h"
#include "tests/base/tape_recorder.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>
#include <torch/types.h>

// Chains whose network reads its own estimate of the call before, by every method.

namespace ddpm::sample::self_conditioned_chain_test {
namespace {

using diffusion::Prediction;
using diffusion::SelfConditioning;

const diffusion::Schedule kSchedule({.timesteps = 50});
const torch::TensorOptions kDouble = torch::dtype(torch::kDouble);

GenerateOptions three_images(int64_t batch) {
  GenerateOptions options;
  options.images = image_range(0, 3);
  options.channels = 1;
  options.height = options.width = 4;
  options.batch = batch;
  options.dtype = torch::kDouble;
  return options;
}

// A network that predicts x0 = 0.1 + half of what it reads, whatever x_t is. Before call k = 0, 1,
// ... it must read 0.2 (1 - 0.5^k).
TEST(SelfConditionedChain, EveryCallOfEveryMethodReadsTheEstimateOfTheCallBefore) {
  const diffusion::Diffusion diffusion(kSchedule, Prediction::kX0);
  for (const MethodEntry& method : methods()) {
    SampleConfig config;
    config.method = method.name;
    config.steps = 9;
    SelfConditioning memory(diffusion, {2, 1, 4, 4}, kDouble);
    std::vector<double> read;
    const auto network = memory.remembering([&](const torch::Tensor& x, const torch::Tensor&) {
      const torch::Tensor own = memory.estimate().narrow(0, 0, x.size(0));
      EXPECT_EQ(own.min().item<double>(), own.max().item<double>());
      read.push_back(own.max().item<double>());
      return 0.1 + 0.5 * own;
    });
    GenerateOptions options = three_images(2);  // a batch of 2, then a smaller one
    options.before_batch = [&](const auto&) { memory.reset_(); };
    generate(network, diffusion, config, options, [](int64_t, const torch::Tensor&) {});
    ASSERT_EQ(read.size(), 18u) << method.name;
    for (size_t k = 0; k < read.size(); ++k)
      EXPECT_NEAR(read[k], 0.2 * (1 - std::pow(0.5, k % 9)), 1e-12) << method.name << " " << k;
  }
}

// x0_hat = (x_t - n eps) / a, between -1 and 1.
TEST(SelfConditionedChain, TheEstimateIsThatOfThePrediction) {
  const torch::Tensor x_t = torch::linspace(-2, 2, 32, torch::kDouble).view({2, 1, 4, 4});
  const torch::Tensor eps = x_t.roll(3, 3) * 0.3;
  const torch::Tensor t = torch::tensor({50, 3});
  const diffusion::Diffusion diffusion(kSchedule, Prediction::kEpsilon);
  SelfConditioning memory(diffusion, {3, 1, 4, 4}, torch::dtype(torch::kFloat));
  const auto network = memory.remembering([&](const auto&, const auto&) {
    return torch::cat({eps, torch::ones_like(eps)}, 1);  // with a learned variance
  });
  EXPECT_TRUE(network(x_t, t).narrow(1, 0, 1).equal(eps)) << "the output stays";
  for (int64_t i = 0; i < 2; ++i) {
    const double a = std::sqrt(kSchedule.alpha_bar(t[i].item<int64_t>()));
    const torch::Tensor x0 = ((x_t[i] - std::sqrt(1 - a * a) * eps[i]) / a).clamp(-1, 1);
    EXPECT_TRUE(torch::allclose(memory.estimate()[i], x0.to(torch::kFloat), 0.0, 1e-6)) << i;
  }
  EXPECT_EQ(memory.estimate()[2].abs().max().item<float>(), 0.0f) << "no third image";
}

// What conditioned restoration does: gradients of x_t end at the estimate.
TEST(SelfConditionedChain, RemembersWithoutAGradient) {
  const diffusion::Diffusion diffusion(kSchedule, Prediction::kX0);
  SelfConditioning memory(diffusion, {1, 1, 2, 2}, kDouble);
  const auto network = memory.remembering(
      [&](const torch::Tensor& x, const torch::Tensor&) { return x * 0.5 + memory.estimate(); });
  torch::Tensor x = torch::ones({1, 1, 2, 2}, torch::kDouble).requires_grad_();
  const torch::Tensor t = torch::tensor({9});
  network(x, t);
  EXPECT_FALSE(memory.estimate().requires_grad());
  network(x, t).sum().backward();
  EXPECT_EQ(x.grad().max().item<double>(), 0.5) << "that of the second call alone";
}

// A CUDA graph replays the same operations on the same addresses.
TEST(SelfConditionedChain, IsReplayedFromARecordingWithTheSameBits) {
  const diffusion::Diffusion diffusion(kSchedule, Prediction::kEpsilon);
  SelfConditioning memory(diffusion, {3, 1, 4, 4}, kDouble);
  const auto network = memory.remembering([&](const torch::Tensor& x, const torch::Tensor&) {
    return 0.3 * x + 0.2 * memory.estimate();
  });
  SampleConfig config;
  config.method = "heun";
  config.steps = 21;
  const ReverseProcess process(diffusion, config);
  const torch::Tensor x_T = torch::linspace(-2, 2, 48, torch::kDouble).view({3, 1, 4, 4});
  Tape tape;
  GraphedDenoiser graphed(network, DeviceGraph("test", std::make_unique<TapeRecorder>(tape)));
  const StepNoise none;
  for (int chain = 0; chain < 2; ++chain) {
    memory.reset_();
    const auto expected = process.run(network, x_T, {});
    memory.reset_();
    const auto actual = process.run(std::ref(graphed), x_T, {});
    EXPECT_TRUE(actual->equal(*expected)) << "chain " << chain;
  }
  EXPECT_GT(tape.replayed, 20);
}

}  // namespace
}  // namespace ddpm::sample::self_conditioned_chain_test
