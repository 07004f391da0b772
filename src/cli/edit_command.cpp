#include "ddpm/cli/app.h"
#include "ddpm/diffusion/image_range.h"
#include "ddpm/io/json_text.h"
#include "ddpm/sample/methods.h"
#include "estimates.h"
#include "flags.h"
#include "input_images.h"
#include "sample_flags.h"
#include "sample_run.h"

#include <algorithm>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace ddpm::cli {
namespace {

// The flags of `ddpm edit` and `ddpm inpaint`.
struct EditOptions {
  SampleOptions sample;
  std::vector<std::string> images;
  double strength = 0.5;
  std::string mask;
  int64_t rounds = 10;
};

// Input i mod n for image i: [num,C,H,W] in [-1,1].
torch::Tensor inputs_of(const SamplePlan& plan, const torch::Tensor& inputs) {
  const torch::Tensor rows = torch::arange(plan.config.num).remainder(inputs.size(0));
  return diffusion::to_model_range(inputs.index_select(0, rows), plan.generate.dtype)
      .to(plan.generate.device);
}

SamplePlan plan_for_inputs(EditOptions& o, const Processes& alone) {
  if (!o.sample.num) o.sample.num = std::ssize(o.images);
  SamplePlan plan = plan_sampling(o.sample);
  settle_(plan, o.sample, alone);
  return plan;
}

// SDEdit (Meng 2022, Algorithm 1): the steps from t = strength T on, from the noised input.
void start_from_inputs_(SamplePlan& plan, const torch::Tensor& inputs, double strength) {
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
      diffusion.noised(inputs_of(plan, inputs),
                       torch::full({plan.config.num}, times.front(),
                                   torch::dtype(torch::kLong).device(plan.generate.device)),
                       noise);
}

int run_edit(EditOptions o) {
  StopSignal signal;
  const Processes alone = join_alone("ddpm edit", o.sample);
  SamplePlan plan = plan_for_inputs(o, alone);
  const torch::Tensor inputs = read_inputs(o.images, plan.network->description.unet.image);
  start_from_inputs_(plan, inputs, o.strength);
  const nlohmann::ordered_json settings{{"strength", o.strength},
                                        {"inputs_crc32c", checksum_of(inputs)}};
  set_task_(plan, o.sample, fmt::format("edit-{}-{:08x}", o.strength, checksum_of(inputs)),
            settings.dump(), fmt::format("{}", fmt::join(o.images, ", ")));
  return sample_to_folder(o.sample, plan, alone, signal);
}

int run_inpaint(EditOptions o) {
  StopSignal signal;
  const Processes alone = join_alone("ddpm inpaint", o.sample);
  SamplePlan plan = plan_for_inputs(o, alone);
  if (o.rounds > 1 && plan.config.method != sample::kDdpm && plan.config.method != sample::kDdim)
    throw UsageError(
        fmt::format("--rounds {} needs method ddpm or ddim: {} remembers former steps; "
                    "use --rounds 1",
                    o.rounds, plan.config.method));
  const nn::ImageSpec& spec = plan.network->description.unet.image;
  const torch::Tensor inputs = read_inputs(o.images, spec);
  const torch::Tensor mask = read_mask(o.mask, spec);
  plan.inpainting = std::make_shared<const Inpainting>(
      Inpainting{inputs_of(plan, inputs), mask.to(plan.generate.device), o.rounds});
  const nlohmann::ordered_json settings{{"rounds", o.rounds},
                                        {"inputs_crc32c", checksum_of(inputs)},
                                        {"mask_crc32c", checksum_of(mask)}};
  const uint32_t both = checksum_of(inputs) ^ checksum_of(mask);
  set_task_(plan, o.sample, fmt::format("inpaint-{}-{:08x}", o.rounds, both), settings.dump(),
            fmt::format("{} with {}", fmt::join(o.images, ", "), o.mask));
  return sample_to_folder(o.sample, plan, alone, signal);
}

void add_input_flags(CLI::App& command, EditOptions& o) {
  command.add_option("--image", o.images, "the images, of the network's size")
      ->required()
      ->type_name("FILE...");
  add_network_flags(command, o.sample);
  add_sampler_flags(command, o.sample);
  command
      .add_option("--num", o.sample.num,
                  "results; the images are used in turn, each time with other noise (default: one "
                  "per image)")
      ->check(whole(1, int64_t{1} << 40));
  add_output_flags(command, o.sample);
}

}  // namespace

void add_edit(CLI::App& app, Command& chosen) {
  auto o = std::make_shared<EditOptions>();
  CLI::App* command = app.add_subcommand(
      "edit", "Make variants of images: add noise up to a strength and sample from there (SDEdit)");
  add_input_flags(*command, *o);
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
  auto o = std::make_shared<EditOptions>();
  CLI::App* command =
      app.add_subcommand("inpaint", "Fill in a part of images that a mask shows (RePaint)");
  add_input_flags(*command, *o);
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
