// The example of docs/extending.md, "A loss weighting": min-SNR (Hang 2023).

#include "ddpm/diffusion/diffusion.h"
#include "ddpm/diffusion/schedule.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace ddpm::extending {
namespace {

using diffusion::Prediction;
using diffusion::Table;

/// The weight of min-SNR (Hang 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy")
/// at t, int64 [B] in 1..T: float64 [B]. It equals min(SNR, gamma) on the squared error of x0. For
/// another prediction it is divided by (its squared error / that of x0).
torch::Tensor min_snr_weight(const diffusion::Schedule& schedule, Prediction prediction,
                             const torch::Tensor& t, double gamma) {
  const torch::Tensor like = torch::empty({t.size(0)}, torch::dtype(torch::kDouble));
  const torch::Tensor snr = schedule.gather(Table::kSnr, t, like);
  const torch::Tensor weight = snr.clamp_max(gamma);
  switch (prediction) {
    case Prediction::kX0:
      return weight;
    case Prediction::kEpsilon:
      return weight / snr;
    case Prediction::kV:
      return weight / (snr + 1);
    case Prediction::kMu:
      return weight / schedule.gather(Table::kPosteriorMeanX0, t, like).square();
    case Prediction::kFlow:
      return weight / (snr.sqrt() + 1).square();
    case Prediction::kEdm:
      return weight / (snr + 4);  // data_std = 0.5
  }
  TORCH_CHECK(false, "unknown prediction");
}

TEST(LossWeightingExample, IsTheSameLossForEveryPrediction) {
  const diffusion::Schedule schedule(diffusion::ScheduleConfig{});
  const torch::Tensor t = torch::tensor({1, 2, 100, 500, 999, 1000}, torch::kLong);
  torch::manual_seed(1);
  const auto random = [&] { return torch::randn({t.size(0), 1, 4, 4}, torch::kDouble); };
  const torch::Tensor x0 = random(), eps = random(), x0_hat = random();
  const torch::Tensor signal = schedule.gather(Table::kSqrtAlphaBar, t, x0);
  const torch::Tensor noise = schedule.gather(Table::kSqrtOneMinusAlphaBar, t, x0);
  const torch::Tensor x_t = signal * x0 + noise * eps;
  const torch::Tensor eps_hat = (x_t - signal * x0_hat) / noise;

  const double gamma = 5.0;
  const auto weighted_loss = [&](Prediction p) {
    const diffusion::LossWeight weight = [&, p](const torch::Tensor& steps) {
      return min_snr_weight(schedule, p, steps, gamma);
    };
    const diffusion::Diffusion diffusion(schedule, p, weight);
    const torch::Tensor target = diffusion.target(x0, eps, x_t, t);
    const torch::Tensor output = diffusion.target(x0_hat, eps_hat, x_t, t);
    return diffusion.weighted(diffusion.unweighted_loss(output, target), t);
  };
  const torch::Tensor expected = weighted_loss(Prediction::kX0);
  for (const Prediction p : {Prediction::kEpsilon, Prediction::kV, Prediction::kMu})
    EXPECT_TRUE(torch::allclose(weighted_loss(p), expected, 1e-8, 0.0)) << config::to_string(p);
}

}  // namespace
}  // namespace ddpm::extending
