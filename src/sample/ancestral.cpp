#include "ancestral.h"

#include <cmath>

#include <torch/types.h>

namespace ddpm::sample {

AncestralWeights AncestralSampler::weights(const PlanStep& step) const {
  const double beta = schedule_.jump_beta(step.t, step.s);
  const double noise_t = schedule_.one_minus_alpha_bar(step.t);
  const double noise_s = schedule_.one_minus_alpha_bar(step.s);
  const double alpha = schedule_.alpha_bar(step.t) / schedule_.alpha_bar(step.s);
  // The posterior (Ho 2020, Eq. 7) with s in the place of t - 1. At s = 0 its mean is x0_hat.
  return {.x0 = std::sqrt(schedule_.alpha_bar(step.s)) * beta / noise_t,
          .x_t = std::sqrt(alpha) * noise_s / noise_t,
          .small = noise_s / noise_t * beta,
          .large = beta};
}

torch::Tensor AncestralSampler::step(const PlanStep& step, const torch::Tensor& x_t,
                                     const diffusion::Estimate& estimate,
                                     const torch::Tensor& z) const {
  const AncestralWeights weight = weights(step);
  const torch::Tensor mean = weight.x0 * estimate.x0 + weight.x_t * x_t;
  if (!uses_noise(step)) {
    return mean;
  }
  if (variance_ == AncestralVariance::kLearned) {
    const torch::Tensor& v = estimate.variance_weight;
    TORCH_CHECK(v.defined(), "a learned variance needs a network that has one");
    const double log_small = std::log(weight.small), log_large = std::log(weight.large);
    return mean + (0.5 * (log_small + (log_large - log_small) * v)).exp() * z;
  }
  const bool small = variance_ == AncestralVariance::kSmall;
  return mean + std::sqrt(small ? weight.small : weight.large) * z;
}

}  // namespace ddpm::sample
