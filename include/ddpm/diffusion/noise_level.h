#pragma once

#include "ddpm/diffusion/schedule.h"

#include <cstdint>

namespace ddpm::diffusion {

/// Half the log-SNR, lambda = log(a / n), with a = sqrt(alpha_bar) and n = sqrt(1 - alpha_bar).
/// Infinite where alpha_bar is 0 or 1. t in 0..T.
double half_log_snr(const Schedule& schedule, int64_t t);
/// The noise level sigma = n / a = exp(-lambda).
double noise_level(const Schedule& schedule, int64_t t);
/// Whether alpha_bar_T > 0. Without signal x_T says nothing of x_0 (Lin 2024).
bool has_signal_at_last(const Schedule& schedule);

}  // namespace ddpm::diffusion
