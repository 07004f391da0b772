#include "ddpm/diffusion/guidance.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::diffusion::guidance_test {
namespace {

// Two outputs, [2,3,4,4], that are not multiples of each other.
torch::Tensor main_output() {
  return torch::linspace(-1, 2, 96, torch::kDouble).cos().view({2, 3, 4, 4});
}
torch::Tensor guide_output() {
  return torch::linspace(3, 9, 96, torch::kDouble).sin().view({2, 3, 4, 4});
}

double distance(const torch::Tensor& a, const torch::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

class Guided : public testing::Test {
 protected:
  GuidedDenoiser guided(const Guidance& guidance, Prediction prediction = Prediction::kEpsilon) {
    const auto counted = [](int& calls, const torch::Tensor& output) {
      return [&calls, output](const torch::Tensor&, const torch::Tensor&) {
        ++calls;
        return output;
      };
    };
    return {guidance, Diffusion(schedule_, prediction),
            sources_of(counted(main_calls_, main_), counted(guide_calls_, guide_))};
  }
  double sigma(int64_t t) const {
    return std::sqrt(schedule_.one_minus_alpha_bar(t) / schedule_.alpha_bar(t));
  }
  static torch::Tensor at(int64_t t) { return torch::full({2}, t, torch::kLong); }

  Schedule schedule_{ScheduleConfig{}};
  torch::Tensor main_ = main_output(), guide_ = guide_output();
  torch::Tensor x_ = torch::linspace(-2, 2, 96, torch::kDouble).view({2, 3, 4, 4});
  int main_calls_ = 0, guide_calls_ = 0;
};

TEST_F(Guided, CallsOnlyWhatTheWeightNeeds) {
  EXPECT_TRUE(torch::equal(guided({})(x_, at(500)), main_));
  EXPECT_EQ(guide_calls_, 0);
  EXPECT_TRUE(torch::equal(guided({.weight = 0})(x_, at(500)), guide_));
  EXPECT_EQ(main_calls_, 1);
  const torch::Tensor got = guided({.weight = 3})(x_, at(500));
  EXPECT_LT(distance(got, guide_ + 3 * (main_ - guide_)), 1e-13);
}

TEST_F(Guided, OutsideTheIntervalIsMainAloneBitForBit) {
  const Guidance guidance{.weight = 3, .interval = {sigma(300), sigma(600)}, .rescale = 0.5};
  for (const int64_t t : {1, 299, 300, 601, 1000})
    EXPECT_TRUE(torch::equal(guided(guidance)(x_, at(t)), main_)) << t;
  EXPECT_EQ(guide_calls_, 0) << "no call is wasted";
  for (const int64_t t : {301, 600})
    EXPECT_TRUE(
        torch::equal(guided(guidance)(x_, at(t)), guided({.weight = 3, .rescale = 0.5})(x_, at(t))))
        << t;
  // Each image with its own t takes the path of a GPU, where the host does not read t.
  const torch::Tensor mixed = guided(guidance)(x_, torch::tensor({300, 301}));
  EXPECT_TRUE(torch::equal(mixed[0], main_[0]));
  EXPECT_FALSE(torch::equal(mixed[1], main_[1]));
}

// Lin 2024, Eqs. 14 to 16.
TEST_F(Guided, RescaleKeepsTheDeviationOfMain) {
  const auto deviation = [](const torch::Tensor& x) { return x.flatten(1).std(1); };
  const torch::Tensor plain = guided({.weight = 4})(x_, at(500));
  const torch::Tensor full = guided({.weight = 4, .rescale = 1.0})(x_, at(500));
  EXPECT_TRUE(torch::allclose(deviation(full), deviation(main_), 1e-12, 0.0));
  EXPECT_GT((deviation(plain) - deviation(main_)).abs().min().item<double>(), 0.1);
  const torch::Tensor part = guided({.weight = 4, .rescale = 0.7})(x_, at(500));
  EXPECT_TRUE(torch::allclose(part, 0.7 * full + 0.3 * plain, 1e-12, 1e-12));
}

TEST_F(Guided, ALearnedVarianceIsMains) {
  main_ = torch::cat({main_output(), torch::full({2, 3, 4, 4}, 0.25, torch::kDouble)}, 1);
  guide_ = torch::cat({guide_output(), torch::full({2, 3, 4, 4}, 0.75, torch::kDouble)}, 1);
  const torch::Tensor output = guided({.weight = 2})(x_, at(500));
  EXPECT_LT(distance(output.narrow(1, 0, 3), 2 * main_output() - guide_output()), 1e-13);
  EXPECT_TRUE(torch::equal(output.narrow(1, 3, 3), main_.narrow(1, 3, 3)));
}

// Sadat 2024, Algorithm 1, for one image: x0_hat of both, guided.
torch::Tensor projected(const torch::Tensor& main, const torch::Tensor& guide, double weight,
                        double parallel_share, double norm) {
  torch::Tensor difference = main - guide;
  const double length = difference.norm().item<double>();
  if (norm > 0 && length > norm) difference = difference * (norm / length);
  const torch::Tensor direction = main / main.norm();
  const torch::Tensor parallel = (difference * direction).sum() * direction;
  return main + (weight - 1) * (difference - parallel + parallel_share * parallel);
}

TEST_F(Guided, ProjectionFollowsItsAlgorithmForEveryPrediction) {
  for (const Prediction p : {Prediction::kEpsilon, Prediction::kX0, Prediction::kMu, Prediction::kV,
                             Prediction::kFlow, Prediction::kEdm}) {
    const auto x0_of = [&](const torch::Tensor& output) {
      return Diffusion(schedule_, p).estimate(output, x_, at(500)).x0;
    };
    const torch::Tensor main_x0 = x0_of(main_), guide_x0 = x0_of(guide_);
    const double norm = 0.5 * (main_x0[0] - guide_x0[0]).norm().item<double>();
    const Guidance guidance{.weight = 5, .parallel = 0.2, .norm = norm};
    const torch::Tensor got = x0_of(guided(guidance, p)(x_, at(500)));
    for (int64_t i = 0; i < 2; ++i) {
      const torch::Tensor want = projected(main_x0[i], guide_x0[i], 5, 0.2, norm);
      EXPECT_LT(distance(got[i], want), 1e-9 * want.abs().max().item<double>())
          << config::to_string(p);
    }
  }
}

TEST_F(Guided, MomentumAddsTheFormerDifferenceUntilTheNextBatch) {
  // The output is x0_hat.
  GuidedDenoiser denoiser = guided({.weight = 2, .momentum = -0.5}, Prediction::kX0);
  const auto off = [&](const torch::Tensor& got, double share) {
    return distance(got, main_ + share * (main_ - guide_));
  };
  EXPECT_LT(off(denoiser(x_, at(500)), 1.0), 1e-12);
  EXPECT_LT(off(denoiser(x_, at(400)), 1 - 0.5), 1e-12);
  EXPECT_LT(off(denoiser(x_, at(300)), 1 - 0.5 * 0.5), 1e-12);
  denoiser.reset_();
  EXPECT_LT(off(denoiser(x_, at(500)), 1.0), 1e-12);
}

}  // namespace
}  // namespace ddpm::diffusion::guidance_test
