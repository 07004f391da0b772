#include "ddpm/cli/app.h"
#include "ddpm/io/json_text.h"
#include "ddpm/pipeline/inputs.h"
#include "ddpm/pipeline/tasks.h"
#include "edit_inputs.h"
#include "flags.h"
#include "sample_run.h"

#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

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

// SDEdit (Meng 2022, Algorithm 1): the steps from t = strength T on, from the noised input.
void start_from_inputs_(pipeline::SamplePlan& plan, const torch::Tensor& inputs, double strength) {
  const diffusion::Diffusion diffusion(plan.network->description.diffusion);
  const double top = strength * static_cast<double>(diffusion.schedule().timesteps());
  std::vector<int64_t> times;
  for (const sample::PlanStep& step : sample::timestep_plan(diffusion.schedule(), plan.config))
    if (static_cast<double>(step.t) <= top) times.push_back(step.t);
  if (times.empty())
    throw UsageError(
        fmt::format("--strength {}: none of the {} steps begins that low; raise it, or "
                    "take more --steps",
                    strength, plan.config.steps));
  plan.config.steps_at = times;
  plan.config.steps = std::ssize(times);
  const torch::Tensor noise = sample::initial_noise(plan.generate);
  plan.generate.initial_noise =
      diffusion.noised(inputs_in_turn(plan, inputs),
                       torch::full({plan.config.num}, times.front(),
                                   torch::dtype(torch::kLong).device(plan.generate.device)),
                       noise);
}

int run_edit(EditOptions o) {
  StopSignal signal;
  const Processes alone = join_alone("ddpm edit", o.sample);
  pipeline::SamplePlan plan = plan_for_inputs(o, alone);
  const torch::Tensor inputs =
      pipeline::read_inputs(o.images, plan.network->description.unet.image);
  start_from_inputs_(plan, inputs, o.strength);
  const nlohmann::ordered_json settings{{"strength", o.strength},
                                        {"inputs_crc32c", pipeline::checksum_of(inputs)}};
  pipeline::set_task_(plan, o.sample,
                      fmt::format("edit-{}-{:08x}", o.strength, pipeline::checksum_of(inputs)),
                      io::json_text(settings), fmt::format("{}", fmt::join(o.images, ", ")));
  return sample_to_folder(o.sample, plan, alone, signal);
}

int run_inpaint(InpaintOptions o) {
  StopSignal signal;
  const Processes alone = join_alone("ddpm inpaint", o.sample);
  pipeline::SamplePlan plan = plan_for_inputs(o, alone);
  const nn::ImageSpec& spec = plan.network->description.unet.image;
  pipeline::inpaint_(plan, o.sample,
                     {pipeline::read_inputs(o.images, spec), pipeline::read_mask(o.mask, spec),
                      fmt::format("{} with {}", fmt::join(o.images, ", "), o.mask)},
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
