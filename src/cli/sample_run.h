#pragma once

#include "ddpm/base/signals.h"
#include "ddpm/pipeline/sample_plan.h"
#include "processes.h"

#include <string>

namespace CLI {
class App;
}

namespace ddpm::cli {

/// Samples the plan's images into its folder, with a grid beside it, and prints the summary: what
/// `ddpm sample` does once its plan is made. Collective. Returns the exit status.
int sample_to_folder(const pipeline::SampleOptions& options, pipeline::SamplePlan& plan,
                     const Processes& processes, StopSignal& signal);

/// Joins as a single process; UsageError if a launcher started several. `command`: for the message.
Processes join_alone(const std::string& command, const pipeline::SampleOptions& options);

/// --out, --overwrite, --grid and --json of a command that samples into a folder.
void add_output_flags(CLI::App& command, pipeline::SampleOptions& options);

}  // namespace ddpm::cli
