#pragma once

#include "ddpm/diffusion/schedule.h"
#include "ddpm/sample/sample_config.h"
#include "ddpm/sample/timestep_plan.h"

#include <cstdint>
#include <vector>

namespace ddpm::sample {

/// What a fit of method "bespoke" tries (bespoke_fit.h): plans, and the timesteps, descending, of one
/// fine solution that passes through all of them.
struct FitTrials {
  std::vector<int64_t> fine;
  std::vector<std::vector<PlanStep>> plans;
};

/// The config's plan; with spacing "power", one plan for each of kFitExponents.
FitTrials trials_of_fit(const SampleConfig& config, const diffusion::Schedule& schedule);

}  // namespace ddpm::sample
