#pragma once

#include "ddpm/diffusion/schedule.h"

#include <cstdint>

#include <torch/types.h>

namespace ddpm::diffusion {

/// The mean of q(x_{t-1} | x_t, x_0) (Ho 2020, Eqs. 6 and 7): x_0 at t = 1. x0, x_t: [B,...]; t:
/// int64 [B] in 1..T.
torch::Tensor posterior_mean(const Schedule& schedule, const torch::Tensor& x0,
                             const torch::Tensor& x_t, const torch::Tensor& t);

/// The variance beta_tilde of q(x_{t-1} | x_t, x_0) (Ho 2020, Eq. 7), [B,1,...,1] to multiply
/// `like`. 0 at t = 1.
torch::Tensor posterior_variance(const Schedule& schedule, const torch::Tensor& t,
                                 const torch::Tensor& like);

/// One jump from t to s < t, the same for a batch: q(x_s | x_t, x_0) has the mean
/// x0 x_0 + x_t x_t and the variance `small`.
struct JumpPosterior {
  double x0, x_t;
  double small;  ///< beta_tilde = (1 - alpha_bar_s) / (1 - alpha_bar_t) beta; 0 at s = 0
  double large;  ///< beta, of the jump
};

/// The posterior (Ho 2020, Eq. 7) of the schedule that has only the visited steps: s in the place
/// of t - 1. float64.
JumpPosterior jump_posterior(const Schedule& schedule, int64_t t, int64_t s);

/// log(beta^v beta_tilde^(1-v)), the log-variance that a network learns (Nichol 2021, Eq. 15). v:
/// Estimate::variance_weight, [B,C,H,W]. log_small, log_large: the logarithms of beta_tilde and
/// beta, as numbers or as tensors that v broadcasts with.
template <class Log>
torch::Tensor learned_log_variance(const Log& log_small, const Log& log_large,
                                   const torch::Tensor& v) {
  return log_small + (log_large - log_small) * v;
}

}  // namespace ddpm::diffusion
