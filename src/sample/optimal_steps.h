#pragma once

#include "ddpm/diffusion/schedule.h"

#include <cstdint>
#include <vector>

namespace ddpm::sample {

/// What the bound on the likelihood loses by a jump from t to s < t with the optimal variance (Bao
/// 2022, Sec. 4), in nats per dimension: the KL divergence of q(x_s | x_t, x_0) from the reverse
/// step. s = 0: the code length of x_0 from x_t, up to a constant. posterior_variance: the mean of
/// Var(x_0 | x_t) by t = 0..T.
double jump_divergence(const diffusion::Schedule& schedule,
                       const std::vector<double>& posterior_variance, int64_t t, int64_t s);

/// The `steps` timesteps, ascending and with T, whose jumps lose the least in sum, by dynamic
/// programming (Watson 2021; Bao 2022, Sec. 4). Of a schedule of more than 1000 timesteps, 1000 even in log-SNR
/// are considered (or `steps`, if that is more). c10::Error unless 1 <= steps <= T.
std::vector<int64_t> optimal_timesteps(const diffusion::Schedule& schedule,
                                       const std::vector<double>& posterior_variance,
                                       int64_t steps);

}  // namespace ddpm::sample
