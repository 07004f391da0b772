#pragma once

#include "ddpm/pipeline/sample_plan.h"
#include "eval_setup.h"
#include "processes.h"

namespace ddpm::cli {

/// Sets the plan's device, and gives a plan with sigma = analytic or spacing = optimal its
/// variances: from the file beside the checkpoint, or measured now on the data of the checkpoint's
/// config, and kept there; with method bespoke, its weights in the same way (settle_fit_).
/// Collective. Throws UsageError if neither is possible.
void settle_(pipeline::SamplePlan& plan, const pipeline::SampleOptions& options,
             const Processes& processes);

}  // namespace ddpm::cli
