#include "noisy_end.h"

#include <cmath>

#include <torch/types.h>

namespace ddpm::sample {

torch::Tensor NoisyEnd::step(const PlanStep& step, const torch::Tensor& x_t,
                             const diffusion::Estimate& estimate, const torch::Tensor& z) const {
  const torch::Tensor image = inner_.step(step, x_t, estimate, z);
  if (!adds_noise_to_image(step)) return image;
  constexpr double kSmall = 1e-20;
  const double large = schedule_.one_minus_alpha_bar(step.t);  // the beta of the jump to s = 0
  if (variance_ == AncestralVariance::kLearned) {
    const torch::Tensor& v = estimate.variance_weight;
    TORCH_CHECK(v.defined(), "a learned variance needs a network that has one");
    const double log_small = std::log(kSmall);
    return image + (0.5 * (log_small + (std::log(large) - log_small) * v)).exp() * z;
  }
  return image + std::sqrt(variance_ == AncestralVariance::kSmall ? kSmall : large) * z;
}

}  // namespace ddpm::sample
