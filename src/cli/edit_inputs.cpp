#include "edit_inputs.h"

#include "estimates.h"
#include "flags.h"
#include "sample_flags.h"

#include <CLI/CLI.hpp>

namespace ddpm::cli {

void add_input_flags(CLI::App& command, InputOptions& o, const std::string& help) {
  command.add_option("--image", o.images, help)->required()->type_name("FILE...");
  add_network_flags(command, o.sample);
  add_sampler_flags(command, o.sample);
  command
      .add_option("--num", o.sample.num,
                  "results; the images are used in turn, each time with other noise (default: one "
                  "per image)")
      ->check(whole(1, int64_t{1} << 40));
  add_output_flags(command, o.sample);
}

pipeline::SamplePlan plan_for_inputs(InputOptions& o, const Processes& alone) {
  if (!o.sample.num) o.sample.num = std::ssize(o.images);
  pipeline::SamplePlan plan = pipeline::plan_sampling(o.sample);
  settle_(plan, o.sample, alone);
  return plan;
}

}  // namespace ddpm::cli
