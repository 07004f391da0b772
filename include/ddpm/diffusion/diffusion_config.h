#pragma once

#include "ddpm/config/document.h"
#include "ddpm/diffusion/parameterization.h"
#include "ddpm/diffusion/schedule.h"

namespace ddpm::diffusion {

/// [diffusion]: what a checkpoint must remember to be sampled from.
struct DiffusionConfig {
  ScheduleConfig schedule;
  Prediction prediction = Prediction::kEpsilon;  ///< what the network predicts

  bool operator==(const DiffusionConfig&) const = default;
};

/// Reads the keys schedule, timesteps, beta_start, beta_end, cosine_s, betas (of
/// schedule = "table") and prediction. Throws
/// ConfigError where they do not go together: beta_start above beta_end, or so many steps that
/// alpha_bar_T leaves float32's range.
DiffusionConfig read_diffusion_config(config::Reader& reader);

}  // namespace ddpm::diffusion
