#pragma once

#include "ddpm/diffusion/schedule.h"

#include <cstdint>

#include <torch/types.h>

namespace ddpm::diffusion {

/// Half the log-SNR, lambda = log(a / n), with a = sqrt(alpha_bar) and n = sqrt(1 - alpha_bar).
/// Infinite where alpha_bar is 0 or 1. t in 0..T.
double half_log_snr(const Schedule& schedule, int64_t t);
/// The noise level sigma = n / a = exp(-lambda).
double noise_level(const Schedule& schedule, int64_t t);
/// The T - 1 numbers half-way between ln(sigma_t) and ln(sigma_{t+1}), t = 1..T-1, float64: how many of
/// them are below a given ln(sigma), plus 1, is its nearest t. If sigma_T is infinite, ln(sigma_T) counts
/// as far above ln(sigma_{T-1}) as that is above the one before. T of 2 or more, of 3 if so.
torch::Tensor log_sigma_bounds(const Schedule& schedule);
/// Whether alpha_bar_T > 0. Without signal x_T says nothing of x_0 (Lin 2024).
bool has_signal_at_last(const Schedule& schedule);

}  // namespace ddpm::diffusion
