#include "ddpm/diffusion/loss_weight.h"

#include <torch/types.h>

namespace ddpm::diffusion {
namespace {

// The squared error of the prediction over that of x0_hat (docs/math.md, "Weights of the loss").
torch::Tensor error_over_x0(const Parameterization& parameterization, const Schedule& schedule,
                            const torch::Tensor& t, const torch::Tensor& snr) {
  switch (parameterization.prediction) {
    case Prediction::kEpsilon:
      return snr;
    case Prediction::kX0:
      return torch::ones_like(snr);
    case Prediction::kV:
      return snr + 1;
    case Prediction::kMu:
      return schedule.gather(Table::kPosteriorMeanX0, t, snr).square();
    case Prediction::kFlow:
      return (snr.sqrt() + 1).square();
    case Prediction::kEdm:
      return snr + 1 / (parameterization.data_std * parameterization.data_std);
  }
  TORCH_CHECK(false, "unknown prediction");
}

double gamma_of(const LossWeightConfig& config) {
  if (config.gamma > 0) return config.gamma;
  switch (config.weighting) {
    case LossWeighting::kMinSnr:
      return 5.0;
    case LossWeighting::kSoftMinSnr:
      return 4.0;
    default:
      return 1.0;
  }
}

// The weight of the squared error of x0_hat.
torch::Tensor x0_weight(const LossWeightConfig& config, const torch::Tensor& snr) {
  const double gamma = gamma_of(config);
  switch (config.weighting) {
    case LossWeighting::kEps:
      return snr;
    case LossWeighting::kX0:
      return torch::ones_like(snr);
    case LossWeighting::kV:
      return snr + 1;
    case LossWeighting::kMinSnr:
      return snr.clamp_max(gamma);
    case LossWeighting::kSoftMinSnr:
      return snr * gamma / (snr + gamma);
    case LossWeighting::kTruncatedSnr:
      return snr.clamp_min(1);
    case LossWeighting::kP2:
      return snr * (1 + snr).pow(-gamma);
    case LossWeighting::kSimple:
    case LossWeighting::kLearned:
      break;
  }
  TORCH_CHECK(false, "a simple or learned loss has no fixed weight");
}

}  // namespace

LossWeight loss_weight(const LossWeightConfig& config, const Schedule& schedule,
                       const Parameterization& parameterization) {
  if (config.weighting == LossWeighting::kSimple || config.weighting == LossWeighting::kLearned)
    return {};
  return [=](const torch::Tensor& t) {
    const torch::Tensor like = torch::empty({1}, torch::dtype(torch::kDouble).device(t.device()));
    const torch::Tensor snr = schedule.gather(Table::kSnr, t, like);
    return x0_weight(config, snr) / error_over_x0(parameterization, schedule, t, snr);
  };
}

}  // namespace ddpm::diffusion
