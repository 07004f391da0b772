#pragma once

#include "ddpm/config/fields.h"
#include "ddpm/diffusion/schedule.h"

#include <array>

namespace ddpm::diffusion {

/// What the network predicts. Given x_t, each of them determines the others exactly (docs/math.md,
/// "Parameterizations").
enum class Prediction {
  kEpsilon,  ///< "eps": the noise in x_t (Ho 2020, Eq. 12)
  kX0,       ///< "x0": the clean image
  kMu,       ///< "mu": the posterior mean of x_{t-1} (Ho 2020, Eq. 8)
  kV,        ///< "v": sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x0 (Salimans and Ho 2022, App. D)
  kFlow,     ///< "flow": eps - x0, the velocity of the straight path (Lipman 2023, Eq. 23)
  kEdm,      ///< "edm": x0 less the part that x_t tells, with unit variance (Karras 2022, Eq. 7)
};

/// The names in a config.
constexpr auto names_of(Prediction) { return std::array{"eps", "x0", "mu", "v", "flow", "edm"}; }

/// Whether reading the prediction divides by sqrt(alpha_bar), so that alpha_bar_T must not be 0.
bool divides_by_signal(Prediction prediction);

/// A prediction with the number that reading it needs.
struct Parameterization {
  Parameterization() = default;
  Parameterization(Prediction what, double std = kDataStd) : prediction(what), data_std(std) {}

  static constexpr double kDataStd = 0.5;  ///< of natural images in -1..1 (Karras 2022, Table 1)
  Prediction prediction = Prediction::kEpsilon;
  double data_std = kDataStd;  ///< of kEdm: the standard deviation of x_0, above 0

  bool operator==(const Parameterization&) const = default;
};

/// [diffusion]: what sampling from a checkpoint needs.
struct DiffusionConfig {
  ScheduleConfig schedule;
  Prediction prediction = Prediction::kEpsilon;  ///< what the network predicts
  double data_std = Parameterization::kDataStd;  ///< see Parameterization

  Parameterization parameterization() const { return {prediction, data_std}; }

  bool operator==(const DiffusionConfig&) const = default;
};

/// The keys of [diffusion]; betas only of schedule = "table", sigma_min and sigma_max only of "edm",
/// data_std only of prediction = "edm".
void fields(config::Fields& f, DiffusionConfig& c);

/// Throws ConfigError also if values contradict each other: beta_start above beta_end, or so many
/// steps that alpha_bar_T leaves float32's range.
DiffusionConfig read_diffusion_config(config::Reader& reader);

}  // namespace ddpm::diffusion
