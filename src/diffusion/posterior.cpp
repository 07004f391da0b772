#include "ddpm/diffusion/posterior.h"

#include <cmath>

#include <torch/types.h>

namespace ddpm::diffusion {

torch::Tensor posterior_mean(const Schedule& schedule, const torch::Tensor& x0,
                             const torch::Tensor& x_t, const torch::Tensor& t) {
  return schedule.gather(Table::kPosteriorMeanX0, t, x0) * x0 +
         schedule.gather(Table::kPosteriorMeanXt, t, x_t) * x_t;
}

torch::Tensor posterior_variance(const Schedule& schedule, const torch::Tensor& t,
                                 const torch::Tensor& like) {
  return schedule.gather(Table::kPosteriorVariance, t, like);
}

JumpPosterior jump_posterior(const Schedule& schedule, int64_t t, int64_t s) {
  const double beta = schedule.jump_beta(t, s);
  const double noise_t = schedule.one_minus_alpha_bar(t);
  const double noise_s = schedule.one_minus_alpha_bar(s);
  const double alpha = schedule.alpha_bar(t) / schedule.alpha_bar(s);
  return {.x0 = std::sqrt(schedule.alpha_bar(s)) * beta / noise_t,
          .x_t = std::sqrt(alpha) * noise_s / noise_t,
          .small = noise_s / noise_t * beta,
          .large = beta};
}

}  // namespace ddpm::diffusion
