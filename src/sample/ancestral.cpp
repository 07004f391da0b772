#include "ancestral.h"

#include "noisy_end.h"

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
                                     const Estimator& estimate, const StepNoise& noise) {
  const AncestralWeights weight = weights(step);
  const diffusion::Estimate at_t = estimate(x_t, step.t);
  const torch::Tensor mean = weight.x0 * at_t.x0 + weight.x_t * x_t;
  if (step.s == 0) return mean;
  const torch::Tensor z = noise(0);
  if (variance_ == AncestralVariance::kLearned) {
    const torch::Tensor& v = at_t.variance_weight;
    TORCH_CHECK(v.defined(), "a learned variance needs a network that has one");
    const double log_small = std::log(weight.small), log_large = std::log(weight.large);
    return mean + (0.5 * (log_small + (log_large - log_small) * v)).exp() * z;
  }
  const bool small = variance_ == AncestralVariance::kSmall;
  return mean + std::sqrt(small ? weight.small : weight.large) * z;
}

std::unique_ptr<Sampler> make_ancestral(const SampleConfig& config,
                                        const diffusion::Schedule& schedule) {
  const AncestralVariance variance = config.sigma == Sigma::kLarge     ? AncestralVariance::kLarge
                                     : config.sigma == Sigma::kLearned ? AncestralVariance::kLearned
                                                                       : AncestralVariance::kSmall;
  if (config.stepping == Stepping::kDiffusers)
    return std::make_unique<NoisyEnd>(schedule, variance);
  return std::make_unique<AncestralSampler>(schedule, variance);
}

std::optional<Conflict> check_ancestral(const SampleConfig& config) {
  if (config.eta != 0)
    return Conflict{"eta", "needs method ddim; ddpm's noise is set by sigma (small or large)"};
  if (config.sigma == Sigma::kHat)
    return Conflict{"sigma", "needs method ddim; the same noise is called large with ddpm"};
  if (config.last_alpha != LastAlpha::kOne)
    return Conflict{"last_alpha", "needs method ddim; ddpm always ends at the finished image"};
  return std::nullopt;
}

std::string describe_ancestral_noise(const SampleConfig& config) {
  return "sigma " + config::to_string(config.sigma);
}

}  // namespace ddpm::sample
