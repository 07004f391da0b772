#pragma once

#include "ddpm/config/names.h"
#include "ddpm/diffusion/parameterization.h"
#include "ddpm/diffusion/schedule.h"

#include <array>

namespace ddpm::sample {

/// What becomes of an x0_hat outside [-range,range]; range is 1 as a rule. Ancestral sampling never
/// reads eps_hat, so for it kClip and kRederive are the same.
enum class Clip {
  kNone,      ///< nothing (DDIM's code)
  kClip,      ///< clamped; eps_hat is kept, and no longer agrees with x_t (diffusers' clip_sample)
  kRederive,  ///< clamped, and eps_hat = (x_t - sqrt(alpha_bar) x0_hat) / sqrt(1 - alpha_bar)
};

/// The names in a config.
constexpr auto names_of(Clip) { return std::array{"none", "clip", "rederive"}; }

/// The estimate at x_t, its x0 brought into [-range,range] as `clip` says.
diffusion::Estimate clipped(Clip clip, const diffusion::Estimate& estimate,
                            const diffusion::Schedule& schedule, const torch::Tensor& x_t,
                            int64_t t, double range = 1.0);

}  // namespace ddpm::sample
