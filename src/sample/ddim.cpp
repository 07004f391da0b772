#include "ddim.h"

#include "ancestral.h"
#include "jump.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <torch/types.h>

namespace ddpm::sample {

DdimSampler::DdimSampler(const diffusion::Schedule& schedule, const DdimNoise& noise)
    : schedule_(schedule), noise_(noise) {
  TORCH_CHECK(noise.eta >= 0 && noise.eta <= 1, "eta = ", noise.eta, " is not in 0..1");
}

torch::Tensor DdimSampler::step(const PlanStep& step, const torch::Tensor& x_t,
                                const Estimator& estimate, const StepNoise& noise) {
  const diffusion::Estimate at_t = estimate(x_t, step.t);
  const double noise_s = schedule_.one_minus_alpha_bar(step.s);
  // s = t is diffusers' last step, which stays at t = 1 (SampleConfig::last_alpha).
  const double beta = step.s == step.t ? 0.0 : schedule_.jump_beta(step.t, step.s);
  const double eta = noise_.sigma_hat ? 1.0 : noise_.eta;
  const double variance = eta * eta * noise_s / schedule_.one_minus_alpha_bar(step.t) * beta;

  // sigma^2 <= 1 - alpha_bar_s for eta <= 1; rounding alone could pass it.
  const double direction = std::sqrt(std::max(noise_s - variance, 0.0));
  const torch::Tensor mean =
      std::sqrt(schedule_.alpha_bar(step.s)) * at_t.x0 + direction * at_t.eps;
  if (step.s == 0) return mean;
  if (!noise_.posterior_variance.empty()) {
    // x_0's weight in the mean at fixed x_t, where eps = (x_t - a_t x_0) / n_t.
    const double weight = std::sqrt(schedule_.alpha_bar(step.s)) -
                          direction / diffusion::noise_level(schedule_, step.t);
    const double spread = weight * weight * known_variance(noise_.posterior_variance, step.t);
    return mean + std::sqrt(variance + spread) * noise(0);
  }
  if (eta == 0) return mean;
  return mean + std::sqrt(noise_.sigma_hat ? beta : variance) * noise(0);
}

std::unique_ptr<Sampler> make_ddim(const SampleConfig& config,
                                   const diffusion::Schedule& schedule) {
  TORCH_CHECK(config.sigma != Sigma::kAnalytic || !config.posterior_variance.empty(),
              "sigma analytic needs the posterior variance of every t");
  return std::make_unique<DdimSampler>(
      schedule, DdimNoise{config.eta, config.sigma == Sigma::kHat,
                          config.sigma == Sigma::kAnalytic ? config.posterior_variance
                                                           : std::vector<double>()});
}

std::optional<Conflict> check_ddim(const SampleConfig& config) {
  if (config.sigma == Sigma::kLarge)
    return Conflict{"sigma", "needs method ddpm; the same noise is called hat with ddim"};
  if (config.sigma == Sigma::kLearned)
    return Conflict{"sigma", "needs method ddpm; ddim's noise is set by eta, or by sigma hat"};
  if (config.sigma == Sigma::kHat && config.eta != 0)
    return Conflict{"eta",
                    "does not go with sigma hat, which sets the noise itself; leave one out"};
  return std::nullopt;
}

std::string describe_ddim_noise(const SampleConfig& config) {
  if (config.sigma == Sigma::kHat) return "sigma hat";
  return fmt::format("eta {}{}", config.eta,
                     config.sigma == Sigma::kAnalytic ? ", sigma analytic" : "");
}

}  // namespace ddpm::sample
