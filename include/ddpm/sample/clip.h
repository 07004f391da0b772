#pragma once

#include "ddpm/config/names.h"
#include "ddpm/diffusion/diffusion.h"
#include "ddpm/diffusion/schedule.h"

#include <array>

namespace ddpm::sample {

/// How an x0_hat outside [-range,range] is changed; range is usually 1. Ancestral sampling does not
/// read eps_hat, so kClip and kRederive are the same for it.
enum class Clip {
  kNone,      ///< nothing (DDIM's code)
  kClip,      ///< clamped; eps_hat is kept, and no longer agrees with x_t (diffusers' clip_sample)
  kRederive,  ///< clamped, and eps_hat = (x_t - sqrt(alpha_bar) x0_hat) / sqrt(1 - alpha_bar)
};

/// The names in a config.
constexpr auto names_of(Clip) { return std::array{"none", "clip", "rederive"}; }

/// The estimate at x_t with its x0 in [-range,range], by the method `clip`.
diffusion::Estimate clipped(Clip clip, const diffusion::Estimate& estimate,
                            const diffusion::Schedule& schedule, const torch::Tensor& x_t,
                            int64_t t, double range = 1.0);

}  // namespace ddpm::sample
