#include "ddpm/diffusion/variational.h"

#include "ddpm/diffusion/posterior.h"

#include <cmath>

#include <torch/types.h>

namespace ddpm::diffusion {
namespace {

// log(Phi(high) - Phi(low)), low < high, without cancellation: both moved to the left tail.
torch::Tensor log_normal_mass(const torch::Tensor& low, const torch::Tensor& high) {
  const torch::Tensor right = low > 0;
  const torch::Tensor a = torch::special_log_ndtr(torch::where(right, -high, low));
  const torch::Tensor b = torch::special_log_ndtr(torch::where(right, -low, high));
  return b + (-torch::expm1(a - b)).log();
}

// log of beta_tilde_t, beta_tilde_2 where t = 1 (beta_1 where there is no t = 2): [B,1,1,1].
torch::Tensor log_small(const Schedule& schedule, const torch::Tensor& t,
                        const torch::Tensor& like) {
  if (schedule.timesteps() == 1) return schedule.gather(Table::kBeta, t, like).log();
  return posterior_variance(schedule, t.clamp_min(2), like).log();
}

torch::Tensor log_variance(ModelVariance variance, const Schedule& schedule, const torch::Tensor& t,
                           const torch::Tensor& like, const torch::Tensor& weight) {
  const torch::Tensor small = log_small(schedule, t, like);
  if (variance == ModelVariance::kSmall) return small;
  const torch::Tensor large = schedule.gather(Table::kBeta, t, like).log();
  if (variance == ModelVariance::kLearned) {
    TORCH_CHECK(weight.defined(), "the network has no learned variance");
    return learned_log_variance(small, large, weight);
  }
  const torch::Tensor first = (t == 1).view({-1, 1, 1, 1});
  return torch::where(first, small, large);
}

torch::Tensor per_image(const torch::Tensor& x) { return x.flatten(1).sum(1); }

}  // namespace

torch::Tensor decoder_log_likelihood(const torch::Tensor& x0, const torch::Tensor& mean,
                                     const torch::Tensor& log_variance) {
  const torch::Tensor x = x0.to(torch::kDouble);
  const torch::Tensor centred = x - mean.to(torch::kDouble);
  const torch::Tensor precision = (-0.5 * log_variance.to(torch::kDouble)).exp();
  const torch::Tensor upper = (centred + 1.0 / 255.0) * precision;
  const torch::Tensor lower = (centred - 1.0 / 255.0) * precision;
  const torch::Tensor inner = log_normal_mass(lower, upper);
  return torch::where(x < -0.999, torch::special_log_ndtr(upper),
                      torch::where(x > 0.999, torch::special_log_ndtr(-lower), inner));
}

torch::Tensor normal_divergence(const torch::Tensor& log_q, const torch::Tensor& log_p,
                                const torch::Tensor& shift) {
  return 0.5 * (log_p - log_q - 1.0 + (log_q - log_p).exp() + shift.square() * (-log_p).exp());
}

torch::Tensor variational_term(const Diffusion& diffusion, ModelVariance variance, bool clip,
                               const torch::Tensor& output, const torch::Tensor& x0,
                               const torch::Tensor& x_t, const torch::Tensor& t) {
  const Schedule& schedule = diffusion.schedule();
  const torch::Tensor x = x0.to(torch::kDouble), noisy = x_t.to(torch::kDouble);
  const Estimate found = diffusion.estimate(output, noisy, t);
  const torch::Tensor x0_hat = clip ? found.x0.clamp(-1.0, 1.0) : found.x0;

  // p(x_{t-1} | x_t)
  const torch::Tensor mean = posterior_mean(schedule, x0_hat, noisy, t);
  const torch::Tensor log_var =
      log_variance(variance, schedule, t, noisy, found.variance_weight).expand_as(noisy);
  const torch::Tensor decoder = -decoder_log_likelihood(x, mean, log_var);
  // against q(x_{t-1} | x_t, x_0)
  const torch::Tensor true_log_var = log_small(schedule, t, noisy);
  const torch::Tensor shift = posterior_mean(schedule, x, noisy, t) - mean;
  const torch::Tensor divergence = normal_divergence(true_log_var, log_var, shift);
  return torch::where(t == 1, per_image(decoder), per_image(divergence));
}

}  // namespace ddpm::diffusion
