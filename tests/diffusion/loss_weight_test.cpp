#include "ddpm/diffusion/loss_weight.h"

#include "ddpm/diffusion/posterior.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::diffusion {
namespace {

const Schedule kSchedule{ScheduleConfig{}};
const torch::Tensor kTimes = torch::tensor({1, 2, 30, 250, 600, 999, 1000});

double weight_at(const LossWeightConfig& config, Prediction prediction, int64_t t) {
  return loss_weight(config, kSchedule, prediction)(torch::tensor({t})).item<double>();
}

// The loss of an estimate of x0 that is off by `error`, as a network of that prediction has it.
torch::Tensor loss_of(Prediction prediction, LossWeighting weighting) {
  const torch::Tensor x0 = torch::linspace(-1, 1, 7 * 6, torch::kDouble).view({7, 1, 2, 3});
  const torch::Tensor eps = torch::linspace(1, -2, 7 * 6, torch::kDouble).sin().view_as(x0);
  const torch::Tensor off = x0 + 0.1 * eps.cos();
  const Diffusion plain(kSchedule, prediction);
  const torch::Tensor x_t = plain.noised(x0, kTimes, eps);
  const auto output_of = [&](const torch::Tensor& estimate) {
    const torch::Tensor signal = kSchedule.gather(Table::kSqrtAlphaBar, kTimes, x0);
    const torch::Tensor noise = kSchedule.gather(Table::kSqrtOneMinusAlphaBar, kTimes, x0);
    return plain.target(estimate, (x_t - signal * estimate) / noise, x_t, kTimes);
  };
  const Diffusion diffusion(kSchedule, prediction,
                            loss_weight({.weighting = weighting}, kSchedule, prediction));
  return diffusion.weighted(Diffusion::unweighted_loss(output_of(off), output_of(x0)), kTimes);
}

// The same estimate has the same loss, whatever the network predicts.
TEST(LossWeight, DoesNotDependOnThePredictionButForSimple) {
  for (const LossWeighting weighting :
       {LossWeighting::kEps, LossWeighting::kX0, LossWeighting::kV, LossWeighting::kMinSnr,
        LossWeighting::kSoftMinSnr, LossWeighting::kTruncatedSnr, LossWeighting::kP2}) {
    const torch::Tensor expected = loss_of(Prediction::kX0, weighting);
    for (const Prediction prediction : {Prediction::kEpsilon, Prediction::kMu, Prediction::kV,
                                        Prediction::kFlow, Prediction::kEdm})
      // eps at t = 1 and mu near T are differences that are divided by 0.01.
      EXPECT_TRUE(torch::allclose(loss_of(prediction, weighting), expected, 1e-9, 0))
          << config::to_string(weighting) << ", " << config::to_string(prediction);
  }
}

TEST(LossWeight, OfASpaceIsTheSimpleLossThere) {
  EXPECT_TRUE(torch::allclose(loss_of(Prediction::kV, LossWeighting::kEps),
                              loss_of(Prediction::kEpsilon, LossWeighting::kSimple), 1e-9, 0));
  EXPECT_TRUE(torch::allclose(loss_of(Prediction::kEpsilon, LossWeighting::kV),
                              loss_of(Prediction::kV, LossWeighting::kSimple), 1e-9, 0));
  EXPECT_TRUE(torch::allclose(loss_of(Prediction::kMu, LossWeighting::kX0),
                              loss_of(Prediction::kX0, LossWeighting::kSimple), 1e-9, 0));
}

// Hang 2023 and diffusers' examples/text_to_image: min(SNR, g) / SNR for eps, min(SNR, g) / (SNR + 1)
// for v. The weight is small where the image is nearly clean, not where it is noise.
TEST(LossWeight, MinSnrWeighsSmallTLess) {
  for (const double gamma : {1.0, 5.0}) {
    const LossWeightConfig config{.weighting = LossWeighting::kMinSnr, .gamma = gamma};
    for (const int64_t t : {1, 100, 400, 1000}) {
      const double snr = kSchedule.snr(t), least = std::min(snr, gamma);
      EXPECT_NEAR(weight_at(config, Prediction::kEpsilon, t), least / snr, 1e-12);
      EXPECT_NEAR(weight_at(config, Prediction::kX0, t), least, 1e-12);
      EXPECT_NEAR(weight_at(config, Prediction::kV, t), least / (snr + 1), 1e-12);
    }
    EXPECT_LT(weight_at(config, Prediction::kEpsilon, 1), 1e-3);
    EXPECT_EQ(weight_at(config, Prediction::kEpsilon, 1000), 1.0);
  }
  // A gamma above every SNR is Ho's loss.
  const LossWeightConfig all{.weighting = LossWeighting::kMinSnr, .gamma = 1e9};
  for (const int64_t t : {1, 500, 1000}) EXPECT_EQ(weight_at(all, Prediction::kEpsilon, t), 1.0);
}

TEST(LossWeight, HasThePapersFormulas) {
  for (const int64_t t : {1, 100, 400, 1000}) {
    const double snr = kSchedule.snr(t);
    EXPECT_NEAR(weight_at({.weighting = LossWeighting::kSoftMinSnr}, Prediction::kX0, t),
                1 / (1 / snr + 1 / 4.0), 1e-12);
    EXPECT_NEAR(weight_at({.weighting = LossWeighting::kTruncatedSnr}, Prediction::kX0, t),
                std::max(snr, 1.0), 1e-12 * snr);
    EXPECT_NEAR(weight_at({.weighting = LossWeighting::kP2}, Prediction::kEpsilon, t),
                1 / (1 + snr), 1e-12);
    EXPECT_NEAR(weight_at({.weighting = LossWeighting::kP2, .gamma = 0.5}, Prediction::kEpsilon, t),
                1 / std::sqrt(1 + snr), 1e-12);
  }
  EXPECT_FALSE(loss_weight({}, kSchedule, Prediction::kEpsilon))
      << "no weight: the bits of Ho's loss";
}

TEST(LossWeight, IsFiniteWithoutSignalAtT) {
  const Schedule schedule({.timesteps = 10, .zero_terminal_snr = true});
  for (const auto prediction : {Prediction::kV, Prediction::kX0, Prediction::kFlow})
    for (const char* name : {"eps", "x0", "v", "min_snr", "soft_min_snr", "truncated_snr", "p2"}) {
      const LossWeightConfig config{.weighting = config::value_named<LossWeighting>(name).value()};
      const double at_last =
          loss_weight(config, schedule, prediction)(torch::tensor({10})).item<double>();
      EXPECT_TRUE(std::isfinite(at_last)) << name;
    }
}

}  // namespace
}  // namespace ddpm::diffusion
