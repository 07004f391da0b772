#include "ddpm/base/progress.h"
#include "ddpm/cli/app.h"
#include "ddpm/io/image.h"
#include "ddpm/io/safetensors.h"
#include "ddpm/sample/picture_folder.h"
#include "ddpm/sample/trajectory.h"
#include "ddpm/train/stop_signal.h"
#include "sample_plan.h"

#include <algorithm>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kGridImages = 256;  // more are too small to see
constexpr int64_t kTrajectoryRows = 8;
constexpr int64_t kTrajectoryColumns = 10;

// What was drawn, beside the files.
struct Drawn {
  sample::GenerateResult result;
  int64_t kept = 0;                   // images that were there already
  std::vector<torch::Tensor> floats;  // for --save-tensors
};

void warn_of_small_times(const std::vector<sample::PlanStep>& steps, int64_t timesteps) {
  if (steps.front().t * 2 > timesteps) return;
  spdlog::warn(
      "these {} steps begin at t = {} of {}, where the network expects little noise: the pictures "
      "will be noise; use more steps, or --spacing trailing",
      steps.size(), steps.front().t, timesteps);
}

Drawn draw(const SampleOptions& options, SamplePlan& plan, const sample::PictureFolder& folder,
           sample::Trajectory& trajectory) {
  sample::GenerateOptions& generate = plan.generate;
  Drawn drawn;
  if (options.keep) {
    const auto wanted = static_cast<int64_t>(generate.images.size());
    generate.images =
        folder.missing(generate.images, {generate.channels, generate.height, generate.width});
    drawn.kept = wanted - static_cast<int64_t>(generate.images.size());
    if (drawn.kept > 0) spdlog::info("{} of {} images are there already", drawn.kept, wanted);
    if (generate.images.empty()) return drawn;
  }
  const nn::UNet unet =
      nn::load_unet(plan.model.unet, plan.weights, generate.device, plan.precision);
  spdlog::info("{} ({} weights): {} images by {}, {} steps, on {}", plan.checkpoint.string(),
               options.weights, generate.images.size(), sample::to_string(plan.config.method),
               plan.config.steps, generate.device.str());

  const train::StopSignal signal;
  Progress progress("sampling", static_cast<int64_t>(generate.images.size()) * plan.config.steps);
  generate.progress = [&](const sample::Progress& p) {
    const double rate = static_cast<double>(p.images_done) / std::max(p.seconds, 1e-9);
    progress.update(p.images_done * p.steps + p.step * p.batch_images,
                    fmt::format("{}/{} images{}", p.images_done, p.images_total,
                                p.images_done > 0 ? fmt::format("  {:.2f} images/s", rate) : ""));
    return !signal.stop_requested();
  };
  if (options.trajectory) {
    generate.observer = [&](int64_t first, const sample::TrajectoryPoint& point) {
      trajectory.observe(first, point);
    };
  }
  const auto sink = [&](int64_t first, const torch::Tensor& batch) {  // files appear batch by batch
    const torch::Tensor host = batch.cpu();
    const torch::Tensor pixels = io::to_uint8(host);
    for (int64_t i = 0; i < pixels.size(0); ++i)
      folder.write(generate.images[first + i], pixels[i]);
    if (!options.save_tensors.empty()) drawn.floats.push_back(host.to(torch::kFloat));
  };
  const auto denoiser_for = [&](const std::vector<int64_t>& images) {
    return nn::make_denoiser(unet, plan.precision,
                             nn::labels_in_turn(images, plan.classes, generate.device));
  };
  drawn.result = sample::generate(denoiser_for, diffusion::Schedule(plan.model.diffusion.schedule),
                                  plan.model.diffusion.prediction, plan.config, generate, sink);
  return drawn;
}

// The first images in one picture; a column a class, where there are several.
fs::path write_grid(const SamplePlan& plan, const sample::PictureFolder& folder, int64_t count) {
  std::vector<torch::Tensor> pictures;
  for (int64_t i = 0; i < std::min(count, kGridImages); ++i) pictures.push_back(folder.read(i));
  const auto classes = static_cast<int64_t>(plan.classes.size());
  const fs::path grid = folder.path() / "grid.png";
  io::write_png(grid, io::make_grid(torch::stack(pictures),
                                    classes > 1 && classes <= 32 ? classes : int64_t{0}));
  return grid;
}

void write_trajectory(const sample::Trajectory& trajectory, const fs::path& folder) {
  const fs::path picture = folder / "trajectory.png";
  io::write_png(picture,
                io::make_grid(trajectory.cells(), static_cast<int64_t>(trajectory.times().size())));
  spdlog::info("{}: x0 estimates, from left to right at t = {}", picture.string(),
               fmt::join(trajectory.times(), ", "));
}

void print_summary(const SampleOptions& options, const SamplePlan& plan,
                   const sample::PictureFolder& folder, const fs::path& grid, int64_t finished,
                   const Drawn& drawn) {
  const sample::GenerateResult& result = drawn.result;
  const double rate = static_cast<double>(result.images) / std::max(result.seconds, 1e-9);
  if (!options.json) {
    spdlog::info("{} images in {} ({:.2f} images/s, {} network calls each) in {}", result.images,
                 format_duration(result.seconds), rate, plan.config.steps, folder.path().string());
    fmt::print("{}\n", grid.string());
    return;
  }
  std::vector<std::string> files;
  for (int64_t i = 0; i < finished; ++i) files.push_back(folder.file_of(i).string());
  auto json = nlohmann::ordered_json::parse(plan.settings);
  json["images"] = result.images;
  json["kept"] = drawn.kept;
  json["network_calls"] = plan.config.steps;
  json["seconds"] = result.seconds;
  json["images_per_s"] = rate;
  json["grid"] = grid.string();
  json["files"] = files;
  fmt::print("{}\n", json.dump());
}

int run_sample(const SampleOptions& options) {
  SamplePlan plan = plan_sampling(options);
  const int64_t timesteps = plan.model.diffusion.schedule.timesteps;
  const auto steps = sample::timestep_plan(timesteps, plan.config.steps, plan.config.spacing);
  warn_of_small_times(steps, timesteps);
  sample::Trajectory trajectory(steps, kTrajectoryRows, kTrajectoryColumns);
  const sample::PictureFolder folder(plan.folder, plan.settings,
                                     options.keep ? sample::PictureFolder::Before::kKeep
                                                  : sample::PictureFolder::Before::kReplace);

  const Drawn drawn = draw(options, plan, folder, trajectory);
  if (drawn.result.stopped) {
    spdlog::warn(
        "stopped with {} images drawn in {}; the same command with --continue draws the rest",
        drawn.result.images + drawn.kept, folder.path().string());
    return kStopped;
  }
  const fs::path grid = write_grid(plan, folder, plan.config.num);
  if (options.trajectory && drawn.result.images > 0) write_trajectory(trajectory, folder.path());
  if (!options.save_tensors.empty())
    io::write_safetensors(options.save_tensors, {{"samples", torch::cat(drawn.floats)}});
  print_summary(options, plan, folder, grid, plan.config.num, drawn);
  return kOk;
}

}  // namespace

void add_sample(CLI::App& app, Command& chosen) {
  auto o = std::make_shared<SampleOptions>();
  CLI::App* command =
      app.add_subcommand("sample", "Draw images from a checkpoint (Algorithm 2 or DDIM)");
  command->add_option("--ckpt", o->checkpoint,
                      "a checkpoint, a run, or a folder of runs (default: newest below runs/)");
  command
      ->add_option("--steps", o->steps,
                   "network calls an image, 1 to T (default: the checkpoint's sample.steps)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  auto* ddim = command->add_flag("--ddim", o->ddim,
                                 "DDIM; eta 0 (deterministic) unless --eta says otherwise");
  command->add_flag("--ddpm", o->ddpm, "Algorithm 2, also where the checkpoint's config says ddim")
      ->excludes(ddim);
  command->add_option("--eta", o->eta, "DDIM's noise: 0 none, 1 as much as Algorithm 2")
      ->check(CLI::Range(0.0, 1.0));
  command
      ->add_option("--sigma", o->sigma,
                   "noise of a step: small (beta_tilde), large (beta), hat (DDIM paper)")
      ->check(CLI::IsMember(sample::sigma_names()));
  command->add_option("--spacing", o->spacing, "which of the T steps")
      ->check(CLI::IsMember(sample::spacing_names()));
  command
      ->add_option(
          "--clip", o->clip,
          "what becomes of an x0 outside [-1,1]: none; clip; rederive (clip, eps to match)")
      ->check(CLI::IsMember(sample::clip_names()));
  command->add_option("--num", o->num, "images to draw")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  command->add_option("--batch", o->batch, "images drawn at a time; changes no image")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  command->add_option("--seed", o->seed, "image i of a seed is always the same picture")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 53))
      ->capture_default_str();
  command
      ->add_option("--class", o->classes,
                   "classes to draw in turn, by name or number, as in 3 or cat,dog (default: all)")
      ->delimiter(',');
  command
      ->add_option("--weights", o->weights,
                   "ema: the averaged weights (ema-2: of the second decay, ...); raw: as trained")
      ->capture_default_str();
  command->add_option("--precision", o->precision, "what the network computes in")
      ->check(CLI::IsMember(nn::precision_names()))
      ->capture_default_str();
  command->add_option("--device", o->device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  command->add_option("--out", o->out, "folder for the pictures (default: RUN/generated/...)");
  command->add_flag("--continue", o->keep,
                    "draw only what is missing in the folder, after a run that was cut short");
  command->add_flag("--trajectory", o->trajectory,
                    "also draw the x0 estimates of the first images along the way: trajectory.png");
  command->add_option("--save-tensors", o->save_tensors,
                      "also write samples [N,C,H,W] float32, unclamped, to this .safetensors");
  command->add_option("--init-noise", o->init_noise,
                      "read x_T [N,C,H,W] and, if there, z [S,N,C,H,W] from this .safetensors");
  command->add_flag("--json", o->json, "print one machine-readable line");
  command->callback([o, &chosen] { chosen = [o] { return run_sample(*o); }; });
}

}  // namespace ddpm::cli
