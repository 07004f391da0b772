#pragma once

#include "ddpm/nn/unet.h"
#include "processes.h"
#include "sample_plan.h"

#include <filesystem>

namespace ddpm::cli {

/// The file of the plan's fit of method bespoke (pipeline/fit_file.h).
std::filesystem::path fit_file(const SamplePlan& plan);

/// Gives a plan with method bespoke its weights: from that file, or fitted now and kept there.
/// Collective. Returns whether the plan changed.
bool settle_fit_(SamplePlan& plan, const Processes& processes);

}  // namespace ddpm::cli
