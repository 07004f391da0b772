#include "ddpm/base/error.h"
#include "ddpm/cli/app.h"
#include "ddpm/io/json_text.h"
#include "ddpm/pipeline/inputs.h"
#include "ddpm/sample/restore.h"
#include "edit_inputs.h"
#include "flags.h"
#include "sample_flags.h"
#include "sample_run.h"

#include <memory>
#include <optional>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace ddpm::cli {
namespace {

struct RestoreOptions : InputOptions {
  std::optional<double> blur;
  std::optional<int64_t> downsample;
  bool grey = false;
  std::string mask;
  double scale = 1.0;
};

// What the images went through.
struct Task {
  std::string name;  // "blur-2", for the folder and sampling.json
  diffusion::Degradation degrade;
  nn::ImageSpec degraded;  // size and channels of the given images
  std::string wanted = "the network's images";
  uint32_t mask_crc32c = 0;
};

void expect_one_operator(const RestoreOptions& o) {
  const int count =
      (o.blur ? 1 : 0) + (o.downsample ? 1 : 0) + (o.grey ? 1 : 0) + (o.mask.empty() ? 0 : 1);
  if (count == 1) return;
  throw UsageError(
      fmt::format("{}: say with one of --blur, --downsample, --grey and --mask what "
                  "the images went through",
                  count == 0 ? "nothing to restore" : "more than one operator"));
}

Task downsampling_task(int64_t factor, const nn::ImageSpec& spec) {
  if (spec.height % factor != 0 || spec.width % factor != 0)
    throw UsageError(fmt::format("--downsample {}: must divide the network's {}x{} images", factor,
                                 spec.height, spec.width));
  Task task{fmt::format("downsample-{}", factor), diffusion::downsampling(factor), spec};
  task.degraded.height /= factor;
  task.degraded.width /= factor;
  task.wanted = fmt::format("images {} times smaller than the network's", factor);
  return task;
}

Task grey_task(const nn::ImageSpec& spec) {
  if (spec.channels != 3)
    throw UsageError("--grey needs a network of colour images; this one makes grey ones");
  Task task{"grey", diffusion::grey(), spec};
  task.degraded.channels = 1;
  task.wanted = "the images of --grey";
  return task;
}

Task task_of(const RestoreOptions& o, const pipeline::SamplePlan& plan) {
  const nn::ImageSpec& spec = plan.network->description.unet.image;
  const auto layout = torch::dtype(plan.generate.dtype).device(plan.generate.device);
  if (o.blur)
    return {fmt::format("blur-{}", *o.blur),
            diffusion::gaussian_blur(*o.blur, spec.height, spec.width, layout), spec};
  if (o.downsample) return downsampling_task(*o.downsample, spec);
  if (o.grey) return grey_task(spec);
  const torch::Tensor mask = pipeline::read_mask(o.mask, spec);
  Task task{"mask", diffusion::missing_pixels(mask.to(plan.generate.device)), spec};
  task.mask_crc32c = pipeline::checksum_of(mask);
  return task;
}

// The condition on the samples: y = A x_0, for each batch of images.
pipeline::Condition condition_of(const RestoreOptions& o, const pipeline::SamplePlan& plan,
                                 const Task& task, const torch::Tensor& inputs) {
  torch::Tensor measured = inputs_in_turn(plan, inputs);
  if (!o.mask.empty()) measured = task.degrade(measured);  // missing pixels of the file say nothing
  return {.around =
              [=, degrade = task.degrade, scale = o.scale](std::unique_ptr<sample::Sampler> inner,
                                                           const torch::Tensor& images) {
                return std::make_unique<sample::RestoreSampler>(
                    std::move(inner),
                    sample::Measurement{measured.index_select(0, images), degrade}, scale);
              },
          .differentiates = true};
}

int run_restore(RestoreOptions o) {
  StopSignal signal;
  expect_one_operator(o);
  pipeline::SampleOptions& options = o.sample;
  const Processes alone = join_alone("ddpm restore", options);
  pipeline::SamplePlan plan = plan_for_inputs(o, alone);
  pipeline::expect_no_memory(plan, "ddpm restore", "use --ddim or --ddpm");
  const Task task = task_of(o, plan);
  const torch::Tensor inputs = pipeline::read_inputs(o.images, task.degraded, task.wanted);
  plan.condition = condition_of(o, plan, task, inputs);
  nlohmann::ordered_json settings{
      {"restore", task.name}, {"scale", o.scale}, {"inputs_crc32c", pipeline::checksum_of(inputs)}};
  if (!o.mask.empty()) settings["mask_crc32c"] = task.mask_crc32c;
  std::string name = fmt::format("restore-{}-scale-{}", task.name, o.scale);
  name += fmt::format("-{:08x}", pipeline::checksum_of(inputs) ^ task.mask_crc32c);
  std::string from = fmt::format("{}", fmt::join(o.images, ", "));
  if (!o.mask.empty()) from += " with " + o.mask;
  pipeline::set_task_(plan, options, name, io::json_text(settings), from);
  return sample_to_folder(options, plan, alone, signal);
}

void add_operator_flags(CLI::App& command, RestoreOptions& o) {
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

void add_strength_flags(CLI::App& command, RestoreOptions& o) {
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
  add_operator_flags(*command, *o);
  add_strength_flags(*command, *o);
  command->footer(
      "Example:\n"
      "  ddpm restore --ckpt runs/mine --image small.png --downsample 4 --num 4 --steps 100");
  command->callback([o, &chosen] { chosen = [o] { return run_restore(*o); }; });
}

}  // namespace ddpm::cli
