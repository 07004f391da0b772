#include "ddpm/diffusion/guidance.h"
#include "tests/sample/exact_denoiser.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample::score_guidance_test {
namespace {

using diffusion::Diffusion;
using diffusion::Prediction;

const diffusion::Schedule kSchedule{diffusion::ScheduleConfig{}};
const Mixture kClasses{{0.3, 0.7}, {-0.5, 0.4}, 0.04};

// The gradient of log p(class 1 | x_t): x_t of class i is N(a means[i], D), D = a^2 variance + n^2.
torch::Tensor classifier_score(const torch::Tensor& x, const torch::Tensor& t) {
  const torch::Tensor signal = kSchedule.gather(diffusion::Table::kSqrtAlphaBar, t, x);
  const torch::Tensor deviation =
      signal.square() * kClasses.variance +
      kSchedule.gather(diffusion::Table::kSqrtOneMinusAlphaBar, t, x).square();
  std::vector<torch::Tensor> gradients, logs;
  for (size_t i = 0; i < 2; ++i) {
    const torch::Tensor away = x - signal * kClasses.means[i];
    gradients.push_back(-away / deviation);
    logs.push_back(std::log(kClasses.weights[i]) - away.square() / (2 * deviation));
  }
  const torch::Tensor share = torch::sigmoid(logs[1] - logs[0]);  // p(class 1 | x_t)
  return gradients[1] - share * gradients[1] - (1 - share) * gradients[0];
}

// What `eps` says, as a network of that prediction. x_t and t as a Denoiser has them.
diffusion::Denoiser restated(const diffusion::Denoiser& eps, Prediction prediction) {
  return [=](const torch::Tensor& x, const torch::Tensor& t) {
    const auto found = Diffusion(kSchedule, Prediction::kEpsilon).estimate(eps(x, t), x, t);
    return Diffusion(kSchedule, prediction).target(found.x0, found.eps, x, t);
  };
}

// Bayes: the score of the mixture plus that of log p(class | x_t) is the score of the class.
TEST(ScoreGuidance, WithScaleOneIsTheDenoiserOfTheClass) {
  const torch::Tensor x = torch::linspace(-2, 2, 30, torch::kDouble).view({5, 1, 2, 3});
  for (const Prediction prediction : {Prediction::kEpsilon, Prediction::kX0, Prediction::kMu,
                                      Prediction::kV, Prediction::kFlow, Prediction::kEdm}) {
    const Diffusion diffusion(kSchedule, prediction);
    const auto guided =
        diffusion::score_guided(restated(mixture_denoiser(kSchedule, kClasses), prediction),
                                diffusion, classifier_score, 1);
    const auto expected =
        restated(gaussian_denoiser(kSchedule, kClasses.means[1], kClasses.variance), prediction);
    for (const int64_t time : {1, 50, 300, 700, 1000}) {
      const torch::Tensor t = torch::full({5}, time, torch::kLong);
      // x0_hat at T is a difference that is divided by sqrt(alpha_bar_T) = 0.006.
      EXPECT_TRUE(torch::allclose(guided(x, t), expected(x, t), 1e-10, 1e-10))
          << config::to_string(prediction) << ", t = " << time;
    }
  }
}

TEST(ScoreGuidance, WithScaleZeroIsTheNetworkBitForBit) {
  const torch::Tensor x = torch::linspace(-2, 2, 6).view({1, 1, 2, 3});
  const torch::Tensor t = torch::tensor({400});
  const auto network = mixture_denoiser(kSchedule, kClasses);
  const auto guided = diffusion::score_guided(network, Diffusion(kSchedule, Prediction::kEpsilon),
                                              classifier_score, 0);
  EXPECT_TRUE(torch::equal(guided(x, t), network(x, t)));
}

TEST(ScoreGuidance, LeavesALearnedVarianceAndAStepWithoutSignal) {
  const diffusion::Schedule schedule({.timesteps = 10, .zero_terminal_snr = true});
  const Diffusion diffusion(schedule, Prediction::kV);
  const auto network = [](const torch::Tensor& x, const torch::Tensor&) {
    return torch::cat({0.5 * x, torch::full_like(x, 0.25)}, 1);
  };
  const auto guided = diffusion::score_guided(
      network, diffusion, [](const torch::Tensor& x, const torch::Tensor&) { return 0.1 + x; }, 2);
  const torch::Tensor x = torch::linspace(-1, 1, 4, torch::kDouble).view({1, 1, 2, 2});
  const torch::Tensor last = guided(x, torch::tensor({10}));
  EXPECT_TRUE(torch::equal(last, network(x, torch::tensor({10}))));
  const torch::Tensor before = guided(x, torch::tensor({9}));
  EXPECT_TRUE(torch::equal(before.narrow(1, 1, 1), torch::full_like(x, 0.25)));
  EXPECT_FALSE(torch::equal(before.narrow(1, 0, 1), 0.5 * x));
}

}  // namespace
}  // namespace ddpm::sample::score_guidance_test
