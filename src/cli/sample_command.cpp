#include "beside_pictures.h"
#include "ddpm/base/device.h"
#include "ddpm/base/progress.h"
#include "ddpm/base/signals.h"
#include "ddpm/checkpoint/run_lock.h"
#include "ddpm/cli/app.h"
#include "ddpm/io/file.h"
#include "ddpm/io/json_text.h"
#include "ddpm/pipeline/picture_subset.h"
#include "ddpm/pipeline/sample_images.h"
#include "ddpm/pipeline/sample_plan.h"
#include "ddpm/sample/picture_folder.h"
#include "estimates.h"
#include "flags.h"
#include "given_flags.h"
#include "output_path.h"
#include "processes.h"
#include "sample_flags.h"
#include "sample_results.h"
#include "sample_run.h"
#include "shared_flags.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

// Throws UsageError if --only or --in-batch contradicts another flag.
void check_only(const pipeline::SampleOptions& options) {
  if (options.only.empty() && !options.in_batch.empty())
    throw UsageError("--in-batch is for --only: leave it out, or name images with --only");
  const char* other = options.only.empty()            ? nullptr
                      : options.trajectory            ? "--trajectory"
                      : options.animate               ? "--animate"
                      : options.keep                  ? "--continue"
                      : !options.save_tensors.empty() ? "--save-tensors"
                      : !options.grid.empty()         ? "--grid"
                                                      : nullptr;
  if (other != nullptr)
    throw UsageError(
        fmt::format("{} is for the whole set of images: leave it out, or leave out --only", other));
}

void check_sample_flags(const pipeline::SampleOptions& options, const dist::Launch& launch) {
  const char* single = options.trajectory              ? "--trajectory"
                       : options.animate               ? "--animate"
                       : !options.save_tensors.empty() ? "--save-tensors"
                       : !options.init_noise.empty()   ? "--init-noise"
                       : !options.only.empty()         ? "--only"
                                                       : nullptr;
  if (single != nullptr && !launch.single())
    throw UsageError(fmt::format("{} works in a single process, but {} were started ({})", single,
                                 launch.world_size, launch.found));
  if (options.keep && (options.trajectory || options.animate))
    throw UsageError(fmt::format("{} needs every image sampled anew; leave out --continue",
                                 options.trajectory ? "--trajectory" : "--animate"));
}

void warn_of_small_times(const std::vector<sample::PlanStep>& steps, int64_t timesteps) {
  if (steps.front().t * 2 > timesteps) return;
  spdlog::warn(
      "these {} steps begin at t = {} of {}, where the network expects little noise: the images "
      "will be noise; use more steps, or --spacing trailing",
      steps.size(), steps.front().t, timesteps);
}

// Checks and makes the folder. The lock keeps out a second process, which would mix its images in.
void prepare_folder(const pipeline::SampleOptions& options, const pipeline::SamplePlan& plan,
                    const sample::PictureFolder& folder, const Beside& beside,
                    std::optional<checkpoint::RunLock>& lock) {
  sample::PictureSet set = pipeline::picture_set(plan);
  if (!beside.grid.empty()) set.beside.push_back(beside.grid);
  if (options.trajectory) set.beside.push_back(beside.trajectory);
  if (options.animate) set.beside.push_back(beside.animation);
  folder.check(set, options.overwrite);
  io::make_folder(plan.folder, "choose another with --out");
  lock.emplace(plan.folder, "sampling.lock");
  folder.prepare(set, options.overwrite);
}

void show_progress(Progress& bar, const sample::Progress& p) {
  const double rate = static_cast<double>(p.images_done) / std::max(p.seconds, 1e-9);
  bar.update(p.images_done * p.steps + p.step * p.batch_images,
             {.count = fmt::format("step {}/{}, {}/{} images", p.step, p.steps, p.images_done,
                                   p.images_total),
              .rate = p.images_done > 0 ? fmt::format("{:.2f} images/s", rate) : ""});
}

Sampled sample_into(const sample::PictureFolder& folder, const pipeline::SampleOptions& options,
                    pipeline::SamplePlan& plan, const pipeline::PictureNotes& notes,
                    Observed& observed, const dist::World& world, StopSignal& signal) {
  sample::GenerateOptions& generate = plan.generate;
  Sampled sampled;
  if (options.keep) sampled.kept = pipeline::keep_existing(folder, generate);
  if (generate.images.empty() && options.keep) return sampled;
  const nn::UNet unet = pipeline::load_unet(plan);
  spdlog::info("{} ({} weights): {} images by {}, {} steps, {} on {}", plan.network->path.string(),
               plan.weights_name(), generate.images.size(), plan.config.method, plan.config.steps,
               nn::describe_arithmetic(plan.precision, plan.deterministic, generate.device),
               describe_device(generate.device));

  signal.ask(world.is_main() ? "stopping; finished images are kept" : nullptr);
  std::optional<Progress> bar;
  if (world.is_main()) bar.emplace("sampling", std::ssize(generate.images) * plan.config.steps);
  generate.progress = [&](const sample::Progress& progress) {
    if (bar) show_progress(*bar, progress);
    return !signal.stop_requested();
  };
  generate.observer = [&](int64_t first, const sample::TrajectoryPoint& point) {
    observed.observe(first, point);
  };
  sample::PictureWriter writer(folder);  // files appear batch by batch
  const std::vector<int64_t> only = pipeline::only_images(options, plan);
  const auto sink = [&](int64_t first, const torch::Tensor& batch) {
    const torch::Tensor host = batch.cpu();
    const auto image = generate.images.begin() + first;
    pipeline::write_batch(writer, notes, {image, image + host.size(0)}, only,
                          pipeline::pixels_of(plan, host));
    if (!options.save_tensors.empty()) sampled.floats.push_back(host.to(torch::kFloat));
  };
  sampled.result = pipeline::sample_images(plan, unet, generate, sink);
  writer.wait();
  return sampled;
}

// Sums over the ranks; seconds: those of the slowest.
void add_up(Sampled& sampled, const dist::World& world) {
  sample::GenerateResult& result = sampled.result;
  const torch::Tensor sums = torch::tensor({result.images, sampled.kept}, torch::kLong);
  world.all_reduce_sum_({sums});
  result.images = sums[0].item<int64_t>();
  sampled.kept = sums[1].item<int64_t>();
  const auto most =
      world.all_reduce_max({result.stopped ? 1 : 0, static_cast<int64_t>(result.seconds * 1e6)});
  result.stopped = most[0] != 0;
  result.seconds = static_cast<double>(most[1]) / 1e6;
}

// One fact per key of the settings, a JSON object.
dist::Facts facts_of(const std::string& settings) {
  dist::Facts facts;
  const auto json = io::parsed_json(settings);
  for (const auto& [name, value] : json.items()) facts[name] = io::json_text(value);
  return facts;
}

}  // namespace

int sample_to_folder(const pipeline::SampleOptions& options, pipeline::SamplePlan& plan,
                     const Processes& processes, StopSignal& signal) {
  check_only(options);
  if (options.keep && options.overwrite)
    throw UsageError("--continue keeps the images that --overwrite deletes; leave one out");
  const dist::World& world = processes.world;
  const int64_t timesteps = plan.network->description.diffusion.schedule.timesteps;
  const auto steps = sample::timestep_plan(
      diffusion::Schedule(plan.network->description.diffusion.schedule), plan.config);
  if (plan.task_name.empty()) warn_of_small_times(steps, timesteps);
  Observed observed = to_observe(options, plan, steps);
  const sample::PictureFolder folder(plan.folder, sample::picture_ending(plan.generate.channels));
  const Beside beside = beside_of(options, folder);
  const pipeline::PictureNotes notes(options, plan);
  pipeline::leave_batches_of_only_(options, plan);
  std::optional<checkpoint::RunLock> lock;
  world.on_main("make the folder", [&] { prepare_folder(options, plan, folder, beside, lock); });
  plan.generate.images =
      sample::images_of_rank(plan.generate.images, plan.generate.batch, world.rank(), world.size());

  Sampled sampled = sample_into(folder, options, plan, notes, observed, world, signal);
  add_up(sampled, world);
  if (sampled.result.stopped) {
    spdlog::warn("stopped after {} images in {}; the same command with --continue samples the rest",
                 sampled.result.images + sampled.kept, folder.path().string());
    return kStopped;
  }
  if (!world.is_main()) return kOk;
  write_results(options, plan, folder, beside, notes, observed, sampled);
  print_summary(options, plan, folder, beside, sampled);
  return kOk;
}

Processes join_alone(const std::string& command, const pipeline::SampleOptions& options) {
  const dist::Launch launch = detected_launch();
  if (!launch.single())
    throw UsageError(fmt::format("{} works in a single process, but {} were started ({})", command,
                                 launch.world_size, launch.found));
  return join_to_sample(launch, options.device);
}

void add_output_flags(CLI::App& command, pipeline::SampleOptions& options) {
  command.add_option("--out", options.out, "folder for the images (default: RUN/generated/...)")
      ->type_name("FOLDER");
  command.add_flag("--continue", options.keep, "sample only the images missing from the folder");
  command.add_flag("--overwrite", options.overwrite,
                   "delete images of other settings that the folder's sampling.json lists");
  command
      .add_option("--grid", options.grid,
                  "the first images in one .png (default: next to the folder, FOLDER-grid.png)")
      ->type_name("FILE");
  command
      .add_option(
          "--only", options.only,
          "of the set, only the images of these numbers, as in 3 or 0-4,7: the same pixels, "
          "since the rest of their batch is sampled too")
      ->type_name("I,...");
  command
      .add_option("--in-batch", options.in_batch,
                  "with --only: the images of the batch (default: by --num and --batch)")
      ->type_name("I,...");
  command
      .add_option("--depth", options.depth,
                  "bits per channel of the pictures, 8 or 16 (default: data.depth of the training)")
      ->check(CLI::IsMember({"8", "16"}));
  command.add_flag("--no-provenance", options.no_provenance,
                   "do not write into the pictures how they were made (ddpm info shows it)");
  add_json_flag(command, options.json);
  command.parse_complete_callback([&command, &options] { options.given = given_flags(command); });
}

namespace {

int run_sample(const pipeline::SampleOptions& options) {
  StopSignal signal;
  signal.end_at_once("stopped before an image was sampled; run the same command again", kStopped);
  const dist::Launch launch = detected_launch();
  check_sample_flags(options, launch);
  pipeline::SamplePlan plan = pipeline::plan_sampling(options);
  expect_beside_input("--save-tensors", options.save_tensors, "the weights", plan.network->path);
  expect_beside_input("--save-tensors", options.save_tensors, "the noise", options.init_noise);
  if (!options.save_tensors.empty())
    expect_own_tensors("--save-tensors", options.save_tensors, "samples");
  const Processes processes = join_to_sample(launch, options.device, facts_of(plan.settings));
  settle_(plan, options, processes);
  return sample_to_folder(options, plan, processes, signal);
}

}  // namespace

void add_sample(CLI::App& app, Command& chosen) {
  auto o = std::make_shared<pipeline::SampleOptions>();
  CLI::App* command = app.add_subcommand(
      "sample",
      "Sample images from a trained network (Algorithm 2, DDIM, DPM-Solver++, UniPC, ...)");
  add_network_flags(*command, *o);
  add_sampler_flags(*command, *o);
  command
      ->add_option("--num", o->num,
                   "images to sample (default: the checkpoint's sample.num, usually 64)")
      ->check(whole(1, int64_t{1} << 40));
  command->add_flag("--trajectory", o->trajectory,
                    "also write the x0 estimates along the way, next to the folder: "
                    "FOLDER-trajectory.png");
  command->add_flag("--animate", o->animate,
                    "also write the denoising of the first images as an animated PNG, next to the "
                    "folder: FOLDER-animation.png");
  command
      ->add_option("--save-tensors", o->save_tensors,
                   "also write the samples to this .safetensors: [N,C,H,W] float32, unclamped")
      ->type_name("FILE");
  command
      ->add_option("--init-noise", o->init_noise,
                   "start from the noise in this .safetensors: x_T [N,C,H,W], and optionally z "
                   "[S,N,C,H,W] for every step")
      ->type_name("FILE");
  add_output_flags(*command, *o);
  command->footer(
      "Example: 100 images with 50 steps of DDIM\n"
      "  ddpm sample --ckpt runs/mine --num 100 --steps 50 --ddim");
  command->callback([o, &chosen] { chosen = [o] { return run_sample(*o); }; });
}

}  // namespace ddpm::cli
