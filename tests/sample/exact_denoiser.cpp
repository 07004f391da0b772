#include "tests/sample/exact_denoiser.h"

#include <cmath>

#include <torch/types.h>

namespace ddpm::sample {
namespace {

using diffusion::Table;

/// What a network that knows x0_hat outputs.
torch::Tensor output_of(diffusion::Prediction prediction, const diffusion::Schedule& schedule,
                        const torch::Tensor& x0, const torch::Tensor& x_t, const torch::Tensor& t) {
  const torch::Tensor eps = (x_t - schedule.gather(Table::kSqrtAlphaBar, t, x_t) * x0) /
                            schedule.gather(Table::kSqrtOneMinusAlphaBar, t, x_t);
  return diffusion::Diffusion(schedule, prediction).target(x0, eps, x_t, t);
}

}  // namespace

diffusion::Denoiser gaussian_denoiser(const diffusion::Schedule& schedule, double mean,
                                      double variance, diffusion::Prediction prediction) {
  return [=](const torch::Tensor& x_t, const torch::Tensor& t) {
    const torch::Tensor signal = schedule.gather(Table::kSqrtAlphaBar, t, x_t);
    const torch::Tensor noise = schedule.gather(Table::kSqrtOneMinusAlphaBar, t, x_t);
    const torch::Tensor total = signal.square() * variance + noise.square();
    const torch::Tensor x0 = mean + signal * variance / total * (x_t - signal * mean);
    return output_of(prediction, schedule, x0, x_t, t);
  };
}

diffusion::Denoiser gaussian_denoiser(const diffusion::Schedule& schedule,
                                      const torch::Tensor& mean, const torch::Tensor& covariance) {
  const auto [values, vectors] = torch::linalg_eigh(covariance, "L");
  return [=, values = values, vectors = vectors](const torch::Tensor& x_t, const torch::Tensor& t) {
    // One t for the whole batch, as samplers give it.
    const double alpha_bar = schedule.alpha_bar(t[0].item<int64_t>());
    const torch::Tensor gain = std::sqrt(alpha_bar) * values / (alpha_bar * values + 1 - alpha_bar);
    const torch::Tensor centred = x_t.flatten(1) - std::sqrt(alpha_bar) * mean;
    const torch::Tensor x0 = mean + centred.matmul(vectors * gain).matmul(vectors.t());
    return output_of(diffusion::Prediction::kEpsilon, schedule, x0.view_as(x_t), x_t, t);
  };
}

double Mixture::mean() const {
  double sum = 0;
  for (size_t i = 0; i < means.size(); ++i) {
    sum += weights[i] * means[i];
  }
  return sum;
}

double Mixture::total_variance() const {
  double sum = variance;
  for (size_t i = 0; i < means.size(); ++i) {
    sum += weights[i] * (means[i] - mean()) * (means[i] - mean());
  }
  return sum;
}

diffusion::Denoiser mixture_denoiser(const diffusion::Schedule& schedule, const Mixture& mixture) {
  const torch::Tensor weights = torch::tensor(mixture.weights, torch::kFloat64);
  const torch::Tensor means = torch::tensor(mixture.means, torch::kFloat64);
  return [=](const torch::Tensor& x_t, const torch::Tensor& t) {
    const double alpha_bar = schedule.alpha_bar(t[0].item<int64_t>());
    const double signal = std::sqrt(alpha_bar);
    const double total = alpha_bar * mixture.variance + 1 - alpha_bar;
    // [B,C,H,W,components]: each component's own x0_hat, weighted by its probability given x_t.
    const torch::Tensor centred = x_t.unsqueeze(-1) - signal * means;
    const torch::Tensor chance = torch::softmax(weights.log() - centred.square() / (2 * total), -1);
    const torch::Tensor each = means + signal * mixture.variance / total * centred;
    const torch::Tensor x0 = (chance * each).sum(-1);
    return output_of(diffusion::Prediction::kEpsilon, schedule, x0, x_t, t);
  };
}

}  // namespace ddpm::sample
