#pragma once

#include "ddpm/config/fields.h"
#include "ddpm/diffusion/diffusion.h"
#include "ddpm/diffusion/schedule.h"

namespace ddpm::diffusion {

/// [diffusion]: what sampling from a checkpoint needs.
struct DiffusionConfig {
  ScheduleConfig schedule;
  Prediction prediction = Prediction::kEpsilon;  ///< what the network predicts

  bool operator==(const DiffusionConfig&) const = default;
};

/// The keys of [diffusion]; betas only of schedule = "table".
void fields(config::Fields& f, DiffusionConfig& c);

/// Throws ConfigError also if values contradict each other: beta_start above beta_end, or so many
/// steps that alpha_bar_T leaves float32's range.
DiffusionConfig read_diffusion_config(config::Reader& reader);

}  // namespace ddpm::diffusion
