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

/// The bound of each image's |x0_hat|.
struct ClipBound {
  double range = 1.0;  ///< of the result
  /// Dynamic thresholding (Saharia 2022, Imagen, Sec. 2.3): x0_hat is clamped at this quantile of the
  /// image's |x0_hat|, if that is above `range`, and scaled down to `range`. 0: clamped at `range`.
  double quantile = 0.0;
  double max = 0.0;  ///< the quantile counts as at most this; 0: no limit
};

/// The estimate at x_t with its x0 in [-bound.range,bound.range], by the method `clip`. Images are
/// [B,...].
diffusion::Estimate clipped(Clip clip, const diffusion::Estimate& estimate,
                            const diffusion::Schedule& schedule, const torch::Tensor& x_t,
                            int64_t t, const ClipBound& bound = {});

}  // namespace ddpm::sample
