#include "noisy_end.h"

#include <cmath>

#include <torch/types.h>

namespace ddpm::sample {

torch::Tensor NoisyEnd::step(const PlanStep& step, const torch::Tensor& x_t,
                             const Estimator& estimate, const StepNoise& noise) {
  torch::Tensor v;  // of the one evaluation of the network
  const auto listening = [&](const torch::Tensor& x, int64_t t) {
    const diffusion::Estimate made = estimate(x, t);
    v = made.variance_weight;
    return made;
  };
  const torch::Tensor image = inner_.step(step, x_t, listening, noise);
  const bool ends_early = step.s == 0 && step.t > 1;
  if (!ends_early) return image;
  const torch::Tensor z = noise(0);
  constexpr double kSmall = 1e-20;
  const double large = schedule_.one_minus_alpha_bar(step.t);  // the beta of the jump to s = 0
  if (variance_ == AncestralVariance::kLearned) {
    TORCH_CHECK(v.defined(), "a learned variance needs a network that has one");
    const double log_small = std::log(kSmall);
    return image + (0.5 * (log_small + (std::log(large) - log_small) * v)).exp() * z;
  }
  return image + std::sqrt(variance_ == AncestralVariance::kSmall ? kSmall : large) * z;
}

}  // namespace ddpm::sample
