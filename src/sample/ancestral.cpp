#include "ancestral.h"

#include "ddpm/diffusion/posterior.h"
#include "noisy_end.h"

#include <cmath>

#include <torch/types.h>

namespace ddpm::sample {

torch::Tensor step_noise(AncestralVariance variance, double small, double large,
                         const torch::Tensor& v, const torch::Tensor& z) {
  if (variance == AncestralVariance::kLearned) {
    TORCH_CHECK(v.defined(), "a learned variance needs a network that has one");
    return (0.5 * diffusion::learned_log_variance(std::log(small), std::log(large), v)).exp() * z;
  }
  return std::sqrt(variance == AncestralVariance::kSmall ? small : large) * z;
}

double known_variance(const std::vector<double>& posterior_variance, int64_t t) {
  TORCH_CHECK(t < std::ssize(posterior_variance), "sigma analytic needs the posterior variance of ",
              "every t; it has ", posterior_variance.size());
  return posterior_variance[static_cast<size_t>(t)];
}

torch::Tensor AncestralSampler::step(const PlanStep& step, const torch::Tensor& x_t,
                                     const Estimator& estimate, const StepNoise& noise) {
  const diffusion::JumpPosterior q = diffusion::jump_posterior(schedule_, step.t, step.s);
  const diffusion::Estimate at_t = estimate(x_t, step.t);
  const torch::Tensor mean = q.x0 * at_t.x0 + q.x_t * x_t;
  if (step.s == 0) return mean;
  if (variance_ == AncestralVariance::kAnalytic) {
    const double spread = q.x0 * q.x0 * known_variance(posterior_variance_, step.t);
    return mean + std::sqrt(q.small + spread) * noise(0);
  }
  return mean + step_noise(variance_, q.small, q.large, at_t.variance_weight, noise(0));
}

std::unique_ptr<Sampler> make_ancestral(const SampleConfig& config,
                                        const diffusion::Schedule& schedule) {
  if (config.sigma == Sigma::kAnalytic)
    return std::make_unique<AncestralSampler>(schedule, AncestralVariance::kAnalytic,
                                              config.posterior_variance);
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
