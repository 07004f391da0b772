#pragma once

#include "eval_setup.h"
#include "processes.h"
#include "sample_plan.h"

#include <filesystem>

namespace ddpm::cli {

/// Sets the plan's device, and gives a plan with sigma = analytic or spacing = optimal its
/// variances: from the file beside the checkpoint, or measured now on the data of the checkpoint's
/// config, and kept there; with method bespoke, its weights in the same way (settle_fit_).
/// Collective. Throws UsageError if neither is possible.
void settle_(SamplePlan& plan, const SampleOptions& options, const Processes& processes);

/// The file: RUN/estimates/... for a checkpoint of a run, else estimates/... here; another one for
/// other weights.
std::filesystem::path estimates_file(const SamplePlan& plan);

}  // namespace ddpm::cli
