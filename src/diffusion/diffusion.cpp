#include "ddpm/diffusion/diffusion.h"

#include <torch/types.h>

namespace ddpm::diffusion {
namespace {

// docs/math.md, "Four parameterizations". `weight` reads a table at t: as a [B,1,1,1] tensor if
// every sample has its own t, as a double if the batch has one t. Each division is by a number that
// is positive for every t in 1..T: sqrt(alpha_bar), sqrt(1 - alpha_bar), beta, or x0's weight in
// the posterior mean.
template <class Weight>
Estimate estimate_with(Prediction prediction, const torch::Tensor& p, const torch::Tensor& x_t,
                       const Weight& weight) {
  const auto signal = weight(Table::kSqrtAlphaBar);
  const auto noise = weight(Table::kSqrtOneMinusAlphaBar);
  switch (prediction) {
    case Prediction::kEpsilon:
      return {(x_t - noise * p) / signal, p};
    case Prediction::kX0:
      return {p, (x_t - signal * p) / noise};
    case Prediction::kV:
      return {signal * x_t - noise * p, noise * x_t + signal * p};
    case Prediction::kMu:
      // Directly to eps, not through x0, whose error near t = T is 1/x0_weight times larger. At t =
      // 1 the weights are exactly 1 and 0, so x0_hat is mu itself.
      return {(p - weight(Table::kPosteriorMeanXt) * x_t) / weight(Table::kPosteriorMeanX0),
              (x_t - weight(Table::kSqrtAlpha) * p) * (noise / weight(Table::kBeta))};
  }
  TORCH_CHECK(false, "unknown prediction");
}

}  // namespace

torch::Tensor training_target(Prediction prediction, const Schedule& schedule,
                              const torch::Tensor& x0, const torch::Tensor& eps,
                              const torch::Tensor& x_t, const torch::Tensor& t) {
  const auto weight = [&](Table table) { return schedule.gather(table, t, x_t); };
  switch (prediction) {
    case Prediction::kEpsilon:
      return eps;
    case Prediction::kX0:
      return x0;
    case Prediction::kMu:
      return weight(Table::kPosteriorMeanX0) * x0 + weight(Table::kPosteriorMeanXt) * x_t;
    case Prediction::kV:
      return weight(Table::kSqrtAlphaBar) * eps - weight(Table::kSqrtOneMinusAlphaBar) * x0;
  }
  TORCH_CHECK(false, "unknown prediction");
}

Estimate estimate(Prediction prediction, const Schedule& schedule, const torch::Tensor& output,
                  const torch::Tensor& x_t, const torch::Tensor& t) {
  return estimate_with(prediction, output.to(x_t.scalar_type()), x_t,
                       [&](Table table) { return schedule.gather(table, t, x_t); });
}

Estimate estimate(Prediction prediction, const Schedule& schedule, const torch::Tensor& output,
                  const torch::Tensor& x_t, int64_t t) {
  return estimate_with(prediction, output.to(x_t.scalar_type()), x_t,
                       [&](Table table) { return schedule.at(table, t); });
}

}  // namespace ddpm::diffusion
