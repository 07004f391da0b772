#include "ddpm/cli/app.h"
#include "ddpm/pipeline/tasks.h"
#include "edit_inputs.h"
#include "flags.h"
#include "sample_run.h"

#include <memory>

#include <CLI/CLI.hpp>

namespace ddpm::cli {
namespace {

struct RestoreOptions : InputOptions {
  pipeline::RestoreInputs inputs;
};

int run_restore(RestoreOptions o) {
  StopSignal signal;
  pipeline::expect_one_operator(o.inputs);
  const Processes alone = join_alone("ddpm restore", o.sample);
  pipeline::SamplePlan plan = plan_for_inputs(o, alone);
  pipeline::restore_(plan, o.sample, o.images, o.inputs);
  return sample_to_folder(o.sample, plan, alone, signal);
}

void add_operator_flags(CLI::App& command, pipeline::RestoreInputs& o) {
  constexpr const char* kOperator = "What the images went through (exactly one)";
  command
      .add_option("--blur", o.blur,
                  "they are blurred by a Gaussian of this standard deviation in pixels")
      ->check(real(0.1, 1000.0))
      ->type_name("SIGMA")
      ->group(kOperator);
  command
      .add_option("--downsample", o.downsample,
                  "they are K times smaller than the network's images: each pixel is the mean of "
                  "KxK")
      ->check(whole(2, 4096))
      ->type_name("K")
      ->group(kOperator);
  command
      .add_flag("--grey", o.grey,
                "their colours are lost: each pixel is 0.299 R + 0.587 G + 0.114 B")
      ->group(kOperator);
  command
      .add_option("--mask", o.mask, "pixels are missing where this image of the same size is light")
      ->type_name("FILE")
      ->group(kOperator);
}

void add_strength_flags(CLI::App& command, pipeline::RestoreInputs& o) {
  command
      .add_option(
          "--scale", o.scale,
          "how strongly each step is drawn to the images: too small ignores them, too large "
          "leaves traces")
      ->check(real(0.0, 1e6))
      ->type_name("X")
      ->capture_default_str();
}

}  // namespace

void add_restore(CLI::App& app, Command& chosen) {
  auto o = std::make_shared<RestoreOptions>();
  CLI::App* command = app.add_subcommand(
      "restore",
      "Restore images that are blurred, small, grey or incomplete (diffusion posterior sampling)");
  add_input_flags(*command, *o, "the degraded images");
  add_operator_flags(*command, o->inputs);
  add_strength_flags(*command, o->inputs);
  command->footer(
      "Example:\n"
      "  ddpm restore --ckpt runs/mine --image small.png --downsample 4 --num 4 --steps 100");
  command->callback([o, &chosen] { chosen = [o] { return run_restore(*o); }; });
}

}  // namespace ddpm::cli
