// The decoder and the single terms of the bound.

#include "ddpm/diffusion/variational.h"
#include "tests/eval/gaussian_images.h"
#include "tests/eval/golden.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::eval {
namespace {

using diffusion::decoder_log_likelihood;
using diffusion::ModelVariance;
using diffusion::variational_term;

TEST(Decoder, IsScipysNormalDistributionInBins) {
  const auto file = golden("decoder");
  const torch::Tensor x0 = file.get("levels").to(torch::kDouble) / 127.5 - 1.0;
  const torch::Tensor sigma = file.get("sigma"), expected = file.get("log_p");
  for (int64_t i = 0; i < sigma.numel(); ++i) {
    const torch::Tensor found =
        decoder_log_likelihood(x0, file.get("mean"), sigma[i].square().log());
    const torch::Tensor scale = expected[i].abs().clamp_min(1e-9);
    EXPECT_LT(((found - expected[i]).abs() / scale).max().item<double>(), 1e-6) << i;
  }
}

TEST(Decoder, ProbabilitiesOfAllLevelsSumToOne) {
  const torch::Tensor x0 = torch::arange(256, torch::kDouble) / 127.5 - 1.0;
  for (const double mean : {-1.3, -0.2, 0.0, 0.999})
    for (const double sigma : {0.001, 0.03, 1.0}) {
      const torch::Tensor p = decoder_log_likelihood(x0, torch::full({}, mean, torch::kDouble),
                                                     torch::full({}, 2 * std::log(sigma)));
      EXPECT_NEAR(p.exp().sum().item<double>(), 1.0, 1e-7)
          << mean << " " << sigma;  // float32 sigma
    }
}

class Terms : public testing::Test {
 protected:
  // The mean of a term over many pixels, nats a pixel, and its standard error.
  Measured term(int64_t t, ModelVariance variance, Prediction prediction = Prediction::kEpsilon,
                const torch::Tensor& second_half = {}) {
    const diffusion::Diffusion diffusion(schedule_, prediction);
    const torch::Tensor x0 = kMean + std::sqrt(kVariance) * normal({4000, 1, 2, 2}, 1);
    const torch::Tensor time = torch::full({4000}, t, torch::kLong);
    const torch::Tensor x_t = diffusion.noised(x0, time, normal({4000, 1, 2, 2}, 2));
    torch::Tensor output =
        diffusion.target(best_x0(schedule_, x_t, time), best_eps(schedule_, x_t, time), x_t, time);
    if (second_half.defined()) output = torch::cat({output, second_half.expand_as(output)}, 1);
    const torch::Tensor nats =
        variational_term(diffusion, variance, false, output, x0, x_t, time) / 4.0;
    return {nats.mean().item<double>(), nats.std().item<double>() / std::sqrt(4000.0)};
  }
  Schedule schedule_{{.timesteps = 50}};
};

// E KL = (log s - log b + (b + w^2 V) / s - 1) / 2 with s the model's variance, b = beta_tilde, w
// the weight of x_0 in the posterior mean, V = Var(x_0 | x_t).
TEST_F(Terms, AreTheClosedFormOfGaussianData) {
  for (const int64_t t : {2, 7, 25, 50}) {
    for (const ModelVariance variance : {ModelVariance::kSmall, ModelVariance::kLarge}) {
      const double b = schedule_.posterior_variance(t);
      const double s = variance == ModelVariance::kSmall ? b : schedule_.beta(t);
      const double abar = schedule_.alpha_bar(t), w = schedule_.at(Table::kPosteriorMeanX0, t);
      const double v = kVariance * (1 - abar) / (abar * kVariance + 1 - abar);
      const double expected = 0.5 * (std::log(s / b) + (b + w * w * v) / s - 1.0);
      const Measured found = term(t, variance);
      EXPECT_NEAR(found.value, expected, 5.0 * found.error + 1e-12) << t;
    }
  }
}

TEST_F(Terms, DoNotDependOnWhatTheNetworkPredicts) {
  for (const int64_t t : {1, 2, 30}) {
    const double eps = term(t, ModelVariance::kLarge).value;
    for (const Prediction p :
         {Prediction::kX0, Prediction::kV, Prediction::kMu, Prediction::kFlow, Prediction::kEdm}) {
      if (t == 1 && p == Prediction::kMu) continue;  // mu is x_0 there, as for kX0
      EXPECT_NEAR(term(t, ModelVariance::kLarge, p).value, eps, 1e-8 * std::abs(eps)) << t;
    }
  }
}

TEST_F(Terms, LearnedVarianceLiesBetweenBetaTildeAndBeta) {
  const auto learned = [&](double v) {
    return term(20, ModelVariance::kLearned, Prediction::kEpsilon,
                torch::full({1}, v, torch::kDouble))
        .value;
  };
  const double small = term(20, ModelVariance::kSmall).value;
  const double large = term(20, ModelVariance::kLarge).value;
  EXPECT_NEAR(learned(-1.0), small, 1e-10);
  EXPECT_NEAR(learned(1.0), large, 1e-10);
  EXPECT_NE(learned(0.0), small);
}

}  // namespace
}  // namespace ddpm::eval
