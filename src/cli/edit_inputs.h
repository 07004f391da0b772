#pragma once

#include "processes.h"
#include "sample_plan.h"

#include <string>
#include <vector>

#include <torch/types.h>

namespace CLI {
class App;
}

namespace ddpm::cli {

/// The flags of commands that begin with images: ddpm edit, inpaint and restore.
struct InputOptions {
  SampleOptions sample;
  std::vector<std::string> images;
};

/// --image (`help` says of which kind), --num, and those of sampling into a folder.
void add_input_flags(CLI::App& command, InputOptions& options, const std::string& help);

/// The plan, by default with one result per image.
SamplePlan plan_for_inputs(InputOptions& options, const Processes& alone);

/// Input i mod n for result i: uint8 [n,C,H,W] to [num,C,H,W] in [-1,1], on the plan's device.
torch::Tensor inputs_in_turn(const SamplePlan& plan, const torch::Tensor& inputs);

/// Throws UsageError if the plan's method remembers former steps, which `what` (a flag or a command)
/// would make wrong. `way_out`: "use --rounds 1".
void expect_no_memory(const SamplePlan& plan, const std::string& what, const std::string& way_out);

}  // namespace ddpm::cli
