#include "beside_pictures.h"
#include "ddpm/base/progress.h"
#include "ddpm/base/signals.h"
#include "ddpm/base/text.h"
#include "ddpm/checkpoint/run_lock.h"
#include "ddpm/cli/app.h"
#include "ddpm/diffusion/condition.h"
#include "ddpm/diffusion/image_range.h"
#include "ddpm/io/folder.h"
#include "ddpm/io/image_grid.h"
#include "ddpm/io/json_text.h"
#include "ddpm/io/safetensors.h"
#include "ddpm/sample/animation.h"
#include "ddpm/sample/picture_folder.h"
#include "ddpm/sample/picture_writer.h"
#include "ddpm/sample/trajectory.h"
#include "estimates.h"
#include "flags.h"
#include "output_path.h"
#include "processes.h"
#include "sample_flags.h"
#include "sample_images.h"
#include "sample_run.h"
#include "sample_settings.h"
#include "sample_subset.h"
#include "shared_flags.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kGridImages = 256;  // images of a larger grid would be too small to see
constexpr int64_t kTrajectoryRows = 8;
constexpr int64_t kTrajectoryColumns = 10;
constexpr int64_t kAnimatedRow = 200;  // images of --animate in turn

// What this call sampled, apart from the files.
struct Sampled {
  sample::GenerateResult result;
  int64_t kept = 0;                   // images that existed already
  std::vector<torch::Tensor> floats;  // for --save-tensors
};

// What is collected on the way.
struct Observed {
  std::optional<sample::Trajectory> trajectory, animation;

  void observe(int64_t first, const sample::TrajectoryPoint& point) {
    if (trajectory) trajectory->observe(first, point);
    if (animation) animation->observe(first, point);
  }
};

void check_sample_flags(const SampleOptions& options, const dist::Launch& launch) {
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
void prepare_folder(const SampleOptions& options, const SamplePlan& plan,
                    const sample::PictureFolder& folder, const Beside& beside,
                    std::optional<checkpoint::RunLock>& lock) {
  sample::PictureSet set = picture_set(plan);
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

Sampled sample_into(const sample::PictureFolder& folder, const SampleOptions& options,
                    SamplePlan& plan, const PictureNotes& notes, Observed& observed,
                    const dist::World& world, StopSignal& signal) {
  sample::GenerateOptions& generate = plan.generate;
  Sampled sampled;
  if (options.keep) sampled.kept = keep_existing(folder, generate);
  if (generate.images.empty() && options.keep) return sampled;
  const nn::UNet unet = load_unet(plan);
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
  const std::vector<int64_t> only = only_images(options, plan);
  const auto sink = [&](int64_t first, const torch::Tensor& batch) {
    const torch::Tensor host = batch.cpu();
    const auto image = generate.images.begin() + first;
    write_batch(writer, notes, {image, image + host.size(0)}, only, diffusion::to_uint8(host));
    if (!options.save_tensors.empty()) sampled.floats.push_back(host.to(torch::kFloat));
  };
  sampled.result = sample_images(plan, unet, generate, sink);
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

// Of the grid; 0: nearly square. One column per class, if there are several.
int64_t columns_of(const SamplePlan& plan) {
  const auto classes = std::ssize(plan.classes);
  if (plan.grid_columns > 0) return plan.grid_columns;
  return classes > 1 && classes <= 32 ? classes : 0;
}

sample::AnimatedGrid animated_grid_of(const SamplePlan& plan) {
  return sample::animated_grid(plan.config.num, plan.generate.height, plan.generate.width,
                               columns_of(plan));
}

Observed to_observe(const SampleOptions& options, const SamplePlan& plan,
                    const std::vector<sample::PlanStep>& steps) {
  Observed observed;
  if (options.trajectory) observed.trajectory.emplace(steps, kTrajectoryRows, kTrajectoryColumns);
  if (options.animate && !plan.in_order)
    observed.animation.emplace(steps, animated_grid_of(plan).images, sample::kAnimatedSteps);
  return observed;
}

std::vector<uint8_t> animation_of(const SamplePlan& plan, const sample::PictureFolder& folder,
                                  const Observed& observed) {
  if (observed.animation) {
    const auto [images, columns] = animated_grid_of(plan);
    return sample::denoising_animation(*observed.animation, folder.grid(images, columns), columns);
  }
  const int64_t last = plan.config.num - 1, shown = std::min(plan.config.num, kAnimatedRow);
  std::vector<torch::Tensor> images;
  for (int64_t i = 0; i < shown; ++i) images.push_back(folder.read(i * last / (shown - 1)));
  return sample::back_and_forth(torch::stack(images));
}

void write_animation(const SamplePlan& plan, const sample::PictureFolder& folder,
                     const fs::path& file, const PictureNotes& notes, const Observed& observed) {
  sample::PictureFolder::write_beside(file, animation_of(plan, folder, observed),
                                      notes.of_set("animation", "--animate"));
  spdlog::info("{}: {}", file.string(),
               observed.animation ? "the x0 estimates as an animation"
                                  : "the images as an animation, forth and back");
}

// The first images; each beside its condition, if it has one.
torch::Tensor grid_of(const SamplePlan& plan, const sample::PictureFolder& folder) {
  if (!plan.pictures.of)
    return folder.grid(std::min(plan.config.num, kGridImages), columns_of(plan));
  const int64_t shown = std::min(plan.config.num, kGridImages / 2);
  std::vector<torch::Tensor> images;
  for (int64_t i = 0; i < shown; ++i) images.push_back(folder.read(i));
  const torch::Tensor samples = torch::stack(images);
  const torch::Tensor given =
      diffusion::condition_image(plan.pictures.of(sample::image_range(0, shown)), samples.size(1),
                                 samples.size(2), samples.size(3));
  return io::enlarged(io::make_paired_grid(given, samples, columns_of(plan)));
}

void write_results(const SampleOptions& options, const SamplePlan& plan,
                   const sample::PictureFolder& folder, const Beside& beside,
                   const PictureNotes& notes, const Observed& observed, const Sampled& sampled) {
  if (!beside.grid.empty())
    sample::PictureFolder::write_beside(beside.grid, grid_of(plan, folder),
                                        notes.of_set("grid", ""));
  if (options.trajectory && sampled.result.images > 0) {
    sample::PictureFolder::write_beside(beside.trajectory, observed.trajectory->picture(),
                                        notes.of_set("trajectory", "--trajectory"));
    spdlog::info("{}: x0 estimates, from left to right at t = {}", beside.trajectory.string(),
                 fmt::join(observed.trajectory->times(), ", "));
  }
  if (options.animate) write_animation(plan, folder, beside.animation, notes, observed);
  if (!options.save_tensors.empty())
    io::write_safetensors(options.save_tensors, {{"samples", torch::cat(sampled.floats)}});
}

void print_summary(const SampleOptions& options, const SamplePlan& plan,
                   const sample::PictureFolder& folder, const Beside& beside,
                   const Sampled& sampled) {
  const sample::GenerateResult& result = sampled.result;
  const double rate = static_cast<double>(result.images) / std::max(result.seconds, 1e-9);
  std::vector<std::string> files;
  const std::vector<int64_t> only = only_images(options, plan);
  for (const int64_t i : only.empty() ? sample::image_range(0, plan.config.num) : only)
    files.push_back(folder.file_of(i).string());
  if (!options.json) {
    spdlog::info("{} images in {} ({:.2f} images/s, {} steps each) in {}", result.images,
                 format_duration(result.seconds), rate, plan.config.steps, folder.path().string());
    fmt::print("{}\n",
               fmt::join(beside.grid.empty() ? files : std::vector{beside.grid.string()}, "\n"));
    return;
  }
  auto json = nlohmann::ordered_json::parse(plan.source);
  json.update(nlohmann::ordered_json::parse(plan.settings));
  json["images"] = only.empty() ? result.images : std::ssize(only);
  json["kept"] = sampled.kept;
  json["network_calls"] = result.network_calls > 0 ? result.network_calls : plan.config.steps;
  json["seconds"] = result.seconds;
  json["images_per_s"] = rate;
  if (!beside.grid.empty()) json["grid"] = beside.grid.string();
  if (options.animate) json["animation"] = beside.animation.string();
  json["files"] = files;
  fmt::print("{}\n", io::json_text(json));
}

// One fact per key of the settings, a JSON object.
dist::Facts facts_of(const std::string& settings) {
  dist::Facts facts;
  const auto json = nlohmann::json::parse(settings);
  for (const auto& [name, value] : json.items()) facts[name] = value.dump();
  return facts;
}

}  // namespace

int sample_to_folder(const SampleOptions& options, SamplePlan& plan, const Processes& processes,
                     StopSignal& signal) {
  check_only(options);
  if (options.keep && options.overwrite)
    throw UsageError("--continue keeps the images that --overwrite deletes; leave one out");
  const dist::World& world = processes.world;
  const int64_t timesteps = plan.network->description.diffusion.schedule.timesteps;
  const auto steps = sample::timestep_plan(
      diffusion::Schedule(plan.network->description.diffusion.schedule), plan.config);
  if (plan.task_name.empty()) warn_of_small_times(steps, timesteps);
  Observed observed = to_observe(options, plan, steps);
  const sample::PictureFolder folder(plan.folder);
  const Beside beside = beside_of(options, folder);
  const PictureNotes notes(options, plan);
  leave_batches_of_only_(options, plan);
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

Processes join_alone(const std::string& command, const SampleOptions& options) {
  const dist::Launch launch = detected_launch();
  if (!launch.single())
    throw UsageError(fmt::format("{} works in a single process, but {} were started ({})", command,
                                 launch.world_size, launch.found));
  return join_to_sample(launch, options.device);
}

void set_task_(SamplePlan& plan, const SampleOptions& options, const std::string& name,
               const std::string& settings, const std::string& inputs) {
  plan.task_name = name;
  plan.task_settings = settings;
  plan.task_inputs = inputs;
  describe_settings(options, plan);
}

void add_output_flags(CLI::App& command, SampleOptions& options) {
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
  command.add_flag("--no-provenance", options.no_provenance,
                   "do not write into the pictures how they were made (ddpm info shows it)");
  add_json_flag(command, options.json);
  command.parse_complete_callback([&command, &options] { options.given = given_flags(command); });
}

namespace {

int run_sample(const SampleOptions& options) {
  StopSignal signal;
  signal.end_at_once("stopped before an image was sampled; run the same command again", kStopped);
  const dist::Launch launch = detected_launch();
  check_sample_flags(options, launch);
  SamplePlan plan = plan_sampling(options);
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
  auto o = std::make_shared<SampleOptions>();
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
