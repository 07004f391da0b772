#pragma once

#include "ddpm/diffusion/diffusion.h"
#include "ddpm/diffusion/schedule.h"
#include "ddpm/sample/timestep_plan.h"

#include <cstdint>

#include <torch/types.h>

namespace ddpm::sample {

/// The numbers of a jump from t to s, float64.
struct Jump {
  Jump(const diffusion::Schedule& schedule, const PlanStep& step);

  double a_t, n_t, a_s, n_s;
  double lambda_t;     ///< diffusion::half_log_snr at t
  double sigma_t;      ///< diffusion::noise_level at t
  double sigma_s;      ///< diffusion::noise_level at s
  double h;            ///< lambda_s - lambda_t; infinite if s = 0 or alpha_bar_t = 0
  double one_minus_e;  ///< 1 - exp(-h)
};

/// DDIM with eta = 0 (Song 2021, Eq. 12), the first-order step of every solver here:
/// a_s x0_hat + n_s eps_hat.
torch::Tensor first_order_step(const Jump& jump, const diffusion::Estimate& estimate);

/// Heun's method on dy/dsigma = eps_hat (Karras 2022, Algorithm 1, lines 7 and 8): the first-order
/// step's x_s, corrected by the estimate there. sigma_t must be finite.
torch::Tensor heun_correction(const Jump& jump, const torch::Tensor& x_s,
                              const diffusion::Estimate& at_t, const diffusion::Estimate& at_s);

}  // namespace ddpm::sample
