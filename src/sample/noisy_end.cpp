#include "noisy_end.h"

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
  constexpr double kSmall = 1e-20;
  const double large = schedule_.one_minus_alpha_bar(step.t);  // the beta of the jump to s = 0
  return image + step_noise(variance_, kSmall, large, v, noise(0));
}

}  // namespace ddpm::sample
