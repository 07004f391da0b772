#pragma once

#include "ddpm/config/fields.h"
#include "ddpm/diffusion/schedule.h"

#include <array>

namespace ddpm::diffusion {

/// What the network predicts. Given x_t, each of the four determines the other three exactly
/// (docs/math.md, "Four parameterizations").
enum class Prediction {
  kEpsilon,  ///< "eps": the noise in x_t (Ho 2020, Eq. 12)
  kX0,       ///< "x0": the clean image
  kMu,       ///< "mu": the posterior mean of x_{t-1} (Ho 2020, Eq. 8)
  kV,        ///< "v": sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x0 (Salimans and Ho 2022, App. D)
};

/// The names in a config.
constexpr auto names_of(Prediction) { return std::array{"eps", "x0", "mu", "v"}; }

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
