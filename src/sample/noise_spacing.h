#pragma once

#include "ddpm/diffusion/schedule.h"
#include "ddpm/sample/timestep_plan.h"

#include <cstdint>
#include <vector>

namespace ddpm::sample {

/// The ascending timesteps of Spacing::kLogSnr and kKarras: evenly spaced between t = 1 and T in
/// lambda, or in sigma^(1/7), each moved to the nearest t in lambda; a repeated t moves up to the
/// next free one.
std::vector<int64_t> timesteps_by_noise(const diffusion::Schedule& schedule, int64_t steps,
                                        Spacing spacing);

}  // namespace ddpm::sample
