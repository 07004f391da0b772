#pragma once

#include "ddpm/diffusion/diffusion.h"
#include "ddpm/sample/timestep_plan.h"

#include <cstdint>

#include <torch/types.h>

namespace ddpm::sample {

/// Half the log-SNR, lambda = log(a / n), with a = sqrt(alpha_bar) and n = sqrt(1 - alpha_bar).
/// Infinite where alpha_bar is 0 or 1. t in 0..T.
double half_log_snr(const diffusion::Schedule& schedule, int64_t t);
/// The noise level sigma = n / a = exp(-lambda).
double noise_level(const diffusion::Schedule& schedule, int64_t t);

/// The numbers of a jump from t to s, float64.
struct Jump {
  Jump(const diffusion::Schedule& schedule, const PlanStep& step);

  double a_t, n_t, a_s, n_s;
  double lambda_t;     ///< half_log_snr at t
  double sigma_t;      ///< noise_level at t
  double sigma_s;      ///< noise_level at s
  double h;            ///< lambda_s - lambda_t; infinite if s = 0 or alpha_bar_t = 0
  double one_minus_e;  ///< 1 - exp(-h)
};

/// DDIM with eta = 0 (Song 2021, Eq. 12), the first-order step of every solver here:
/// a_s x0_hat + n_s eps_hat.
torch::Tensor first_order_step(const Jump& jump, const diffusion::Estimate& estimate);

}  // namespace ddpm::sample
