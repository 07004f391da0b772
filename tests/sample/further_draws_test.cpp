// A sampler may draw noise several times per step.

#include "ddpm/sample/generate.h"
#include "ddpm/sample/reverse_process.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

/// Returns the sum of two draws of noise.
class TwoDraws : public Sampler {
 public:
  torch::Tensor step(const PlanStep&, const torch::Tensor& x_t, const Estimator& estimate,
                     const StepNoise& noise) override {
    estimate(x_t, 1);
    const torch::Tensor first = noise(0).clone(), second = noise(1);
    EXPECT_FALSE(torch::equal(first, second));
    EXPECT_LT((first * second).mean().item<double>(), 0.2);  // 4096 values: 13 deviations
    return first + 10 * second;
  }
};

TEST(FurtherDraws, AreOfTheImageAndTheStepAlone) {
  const diffusion::Schedule schedule({.timesteps = 4});
  const auto make = [] { return std::make_unique<TwoDraws>(); };
  const ReverseProcess process(diffusion::Diffusion(schedule, diffusion::Prediction::kEpsilon), {},
                               make);
  const auto network = [](const torch::Tensor& x, const torch::Tensor&) { return x; };
  const auto sampled = [&](const std::vector<int64_t>& images, int64_t batch) {
    GenerateOptions options;
    options.images = images;
    options.batch = batch;
    options.channels = 1, options.height = options.width = 64;
    std::vector<torch::Tensor> batches;
    const auto result = generate(network, process, options,
                                 [&](int64_t, const torch::Tensor& x) { batches.push_back(x); });
    EXPECT_EQ(result.network_calls, 4);
    return torch::cat(batches);
  };
  const torch::Tensor all = sampled({0, 1, 2}, 3);
  EXPECT_TRUE(torch::equal(all[2], sampled({2}, 1)[0]));
  EXPECT_TRUE(torch::equal(all, sampled({0, 1, 2}, 2)));
  EXPECT_FALSE(torch::equal(all[0], all[1]));
}

}  // namespace
}  // namespace ddpm::sample
