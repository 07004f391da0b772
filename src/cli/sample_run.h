#pragma once

#include "ddpm/base/signals.h"
#include "processes.h"
#include "sample_plan.h"

#include <string>

namespace CLI {
class App;
}

namespace ddpm::cli {

/// Samples the plan's images into its folder, with a grid beside it, and prints the summary: what
/// `ddpm sample` does once its plan is made. Collective. Returns the exit status.
int sample_to_folder(const SampleOptions& options, SamplePlan& plan, const Processes& processes,
                     StopSignal& signal);

/// Joins as a single process; UsageError if a launcher started several. `command`: for the message.
Processes join_alone(const std::string& command, const SampleOptions& options);

/// --out, --overwrite, --grid and --json of a command that samples into a folder.
void add_output_flags(CLI::App& command, SampleOptions& options);

/// Gives the plan a task besides plain sampling: `name` for its folder, `settings` (a JSON object)
/// for its sampling.json, `inputs` for people.
void set_task_(SamplePlan& plan, const SampleOptions& options, const std::string& name,
               const std::string& settings, const std::string& inputs);

}  // namespace ddpm::cli
