#include "ddpm/sample/ancestral.h"

#include <cmath>

#include <torch/types.h>

namespace ddpm::sample {

torch::Tensor AncestralSampler::step(const PlanStep& step, const torch::Tensor& x_t,
                                     const diffusion::Estimate& estimate,
                                     const torch::Tensor& z) const {
  const double beta = schedule_.jump_beta(step.t, step.s);
  const double noise_t = schedule_.one_minus_alpha_bar(step.t);
  const double noise_s = schedule_.one_minus_alpha_bar(step.s);

  // The posterior mean (Ho 2020, Eq. 7) with s in the place of t - 1. At s = 0 it is x0_hat.
  const double x0_weight = std::sqrt(schedule_.alpha_bar(step.s)) * beta / noise_t;
  const double xt_weight = std::sqrt(1 - beta) * noise_s / noise_t;
  const torch::Tensor mean = x0_weight * estimate.x0 + xt_weight * x_t;
  if (!uses_noise(step)) {
    return mean;
  }
  if (variance_ == AncestralVariance::kLearned) {
    const torch::Tensor& v = estimate.variance_weight;
    TORCH_CHECK(v.defined(), "a learned variance needs a network that has one");
    const double log_small = std::log(noise_s / noise_t * beta), log_large = std::log(beta);
    return mean + (0.5 * (log_small + (log_large - log_small) * v)).exp() * z;
  }
  const double variance = variance_ == AncestralVariance::kSmall ? noise_s / noise_t * beta : beta;
  return mean + std::sqrt(variance) * z;
}

}  // namespace ddpm::sample
