#pragma once

#include "ddpm/pipeline/sample_plan.h"
#include "processes.h"

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace ddpm::cli {

/// The flags of commands that begin with images: ddpm edit, inpaint and restore.
struct InputOptions {
  pipeline::SampleOptions sample;
  std::vector<std::string> images;
};

/// --image (`help` says of which kind), --num, and those of sampling into a folder.
void add_input_flags(CLI::App& command, InputOptions& options, const std::string& help);

/// The plan, by default with one result per image.
pipeline::SamplePlan plan_for_inputs(InputOptions& options, const Processes& alone);

}  // namespace ddpm::cli
