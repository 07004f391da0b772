#include "ddim.h"

#include <algorithm>
#include <cmath>

#include <torch/types.h>

namespace ddpm::sample {

DdimSampler::DdimSampler(const diffusion::Schedule& schedule, const DdimNoise& noise)
    : schedule_(schedule), noise_(noise) {
  TORCH_CHECK(noise.eta >= 0 && noise.eta <= 1, "eta = ", noise.eta, " is not in 0..1");
}

bool DdimSampler::uses_noise(const PlanStep& step) const {
  return step.s > 0 && (noise_.sigma_hat || noise_.eta > 0);
}

torch::Tensor DdimSampler::step(const PlanStep& step, const torch::Tensor& x_t,
                                const diffusion::Estimate& estimate, const torch::Tensor& z) const {
  (void)x_t;  // x_t is in x0_hat and eps_hat already
  const double noise_s = schedule_.one_minus_alpha_bar(step.s);
  // s = t is diffusers' last step, which stays at t = 1 (SampleConfig::last_alpha).
  const double beta = step.s == step.t ? 0.0 : schedule_.jump_beta(step.t, step.s);
  const double eta = noise_.sigma_hat ? 1.0 : noise_.eta;
  const double variance = eta * eta * noise_s / schedule_.one_minus_alpha_bar(step.t) * beta;

  // sigma^2 <= 1 - alpha_bar_s for eta <= 1; rounding alone could pass it.
  const double direction = std::sqrt(std::max(noise_s - variance, 0.0));
  const torch::Tensor mean =
      std::sqrt(schedule_.alpha_bar(step.s)) * estimate.x0 + direction * estimate.eps;
  if (!uses_noise(step)) {
    return mean;
  }
  return mean + std::sqrt(noise_.sigma_hat ? beta : variance) * z;
}

}  // namespace ddpm::sample
