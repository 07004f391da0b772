#include "edit_inputs.h"

#include "ddpm/base/error.h"
#include "ddpm/diffusion/image_range.h"
#include "ddpm/sample/methods.h"
#include "estimates.h"
#include "flags.h"
#include "sample_flags.h"
#include "sample_run.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

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

torch::Tensor inputs_in_turn(const pipeline::SamplePlan& plan, const torch::Tensor& inputs) {
  const torch::Tensor rows = torch::arange(plan.config.num).remainder(inputs.size(0));
  return diffusion::to_model_range(inputs.index_select(0, rows), plan.generate.dtype)
      .to(plan.generate.device);
}

}  // namespace ddpm::cli
