#include "ddpm/cli/app.h"
#include "ddpm/pipeline/inputs.h"
#include "ddpm/pipeline/tasks.h"
#include "edit_inputs.h"
#include "flags.h"
#include "sample_run.h"

#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::cli {
namespace {

struct EditOptions : InputOptions {
  double strength = 0.5;
};

struct InpaintOptions : InputOptions {
  std::string mask;
  int64_t rounds = 10;
};

constexpr const char* kImageHelp = "the images, of the network's size";

std::string names_of(const InputOptions& o) { return fmt::format("{}", fmt::join(o.images, ", ")); }

int run_edit(EditOptions o) {
  StopSignal signal;
  const Processes alone = join_alone("ddpm edit", o.sample);
  pipeline::SamplePlan plan = plan_for_inputs(o, alone);
  pipeline::edit_(plan, o.sample,
                  pipeline::read_inputs(o.images, plan.network->description.unet.image),
                  names_of(o), o.strength);
  return sample_to_folder(o.sample, plan, alone, signal);
}

int run_inpaint(InpaintOptions o) {
  StopSignal signal;
  const Processes alone = join_alone("ddpm inpaint", o.sample);
  pipeline::SamplePlan plan = plan_for_inputs(o, alone);
  const nn::ImageSpec& spec = plan.network->description.unet.image;
  pipeline::inpaint_(plan, o.sample,
                     {pipeline::read_inputs(o.images, spec), pipeline::read_mask(o.mask, spec),
                      names_of(o) + " with " + o.mask},
                     o.rounds);
  return sample_to_folder(o.sample, plan, alone, signal);
}

}  // namespace

void add_edit(CLI::App& app, Command& chosen) {
  auto o = std::make_shared<EditOptions>();
  CLI::App* command = app.add_subcommand(
      "edit", "Make variants of images: add noise up to a strength and sample from there (SDEdit)");
  add_input_flags(*command, *o, kImageHelp);
  command
      ->add_option("--strength", o->strength,
                   "where to begin, as a share of T: near 0 keeps the image, near 1 forgets it")
      ->check(real(0.0, 1.0))
      ->type_name("0..1")
      ->capture_default_str();
  command->footer(
      "Example:\n"
      "  ddpm edit --ckpt runs/mine --image sketch.png --strength 0.6 --num 8 --steps 50 --ddim");
  command->callback([o, &chosen] { chosen = [o] { return run_edit(*o); }; });
}

void add_inpaint(CLI::App& app, Command& chosen) {
  auto o = std::make_shared<InpaintOptions>();
  CLI::App* command =
      app.add_subcommand("inpaint", "Fill in a part of images that a mask shows (RePaint)");
  add_input_flags(*command, *o, kImageHelp);
  command
      ->add_option("--mask", o->mask,
                   "an image of the same size: light where pixels are to be filled in")
      ->required()
      ->type_name("FILE");
  command
      ->add_option("--rounds", o->rounds,
                   "times that each step is repeated with fresh noise: more fits the parts better "
                   "together and costs as many network calls")
      ->check(whole(1, 1000))
      ->capture_default_str();
  command->footer(
      "Example:\n"
      "  ddpm inpaint --ckpt runs/mine --image photo.png --mask hole.png --num 8 --steps 50");
  command->callback([o, &chosen] { chosen = [o] { return run_inpaint(*o); }; });
}

}  // namespace ddpm::cli
