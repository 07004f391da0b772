#include "jump.h"

#include <cmath>

#include <torch/types.h>

namespace ddpm::sample {

Jump::Jump(const diffusion::Schedule& schedule, const PlanStep& step)
    : a_t(std::sqrt(schedule.alpha_bar(step.t))),
      n_t(std::sqrt(schedule.one_minus_alpha_bar(step.t))),
      a_s(std::sqrt(schedule.alpha_bar(step.s))),
      n_s(std::sqrt(schedule.one_minus_alpha_bar(step.s))),
      lambda_t(diffusion::half_log_snr(schedule, step.t)),
      sigma_t(diffusion::noise_level(schedule, step.t)),
      sigma_s(diffusion::noise_level(schedule, step.s)),
      h(diffusion::half_log_snr(schedule, step.s) - lambda_t),
      one_minus_e(-std::expm1(-h)) {}

torch::Tensor first_order_step(const Jump& jump, const diffusion::Estimate& estimate) {
  return jump.a_s * estimate.x0 + jump.n_s * estimate.eps;
}

torch::Tensor heun_correction(const Jump& jump, const torch::Tensor& x_s,
                              const diffusion::Estimate& at_t, const diffusion::Estimate& at_s) {
  return x_s + 0.5 * jump.a_s * (jump.sigma_s - jump.sigma_t) * (at_s.eps - at_t.eps);
}

}  // namespace ddpm::sample
