#include "sample_results.h"

#include "ddpm/base/text.h"
#include "ddpm/diffusion/condition.h"
#include "ddpm/io/image.h"
#include "ddpm/io/json_text.h"
#include "ddpm/io/safetensors.h"
#include "ddpm/pipeline/picture_subset.h"
#include "ddpm/sample/trajectory.h"

#include <algorithm>
#include <filesystem>
#include <string>

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

// Of the grid; 0: nearly square. One column per class, if there are several.
int64_t columns_of(const pipeline::SamplePlan& plan) {
  const auto classes = std::ssize(plan.classes);
  if (plan.grid_columns > 0) return plan.grid_columns;
  return classes > 1 && classes <= 32 ? classes : 0;
}

sample::AnimatedGrid animated_grid_of(const pipeline::SamplePlan& plan) {
  return sample::animated_grid(plan.config.num, plan.generate.height, plan.generate.width,
                               columns_of(plan));
}

std::vector<uint8_t> animation_of(const pipeline::SamplePlan& plan,
                                  const sample::PictureFolder& folder, const Observed& observed) {
  if (observed.animation) {
    const auto [images, columns] = animated_grid_of(plan);
    return sample::denoising_animation(*observed.animation, folder.grid(images, columns), columns);
  }
  const int64_t last = plan.config.num - 1, shown = std::min(plan.config.num, kAnimatedRow);
  std::vector<torch::Tensor> images;
  for (int64_t i = 0; i < shown; ++i) images.push_back(folder.read(i * last / (shown - 1)));
  return sample::back_and_forth(torch::stack(images));
}

void write_animation(const pipeline::SamplePlan& plan, const sample::PictureFolder& folder,
                     const fs::path& file, const pipeline::PictureNotes& notes,
                     const Observed& observed) {
  sample::PictureFolder::write_beside(file, animation_of(plan, folder, observed),
                                      notes.of_set("animation", "--animate"));
  spdlog::info("{}: {}", file.string(),
               observed.animation ? "the x0 estimates as an animation"
                                  : "the images as an animation, forth and back");
}

// The first images; each beside its condition, if it has one.
torch::Tensor grid_of(const pipeline::SamplePlan& plan, const sample::PictureFolder& folder) {
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

}  // namespace

Observed to_observe(const pipeline::SampleOptions& options, const pipeline::SamplePlan& plan,
                    const std::vector<sample::PlanStep>& steps) {
  Observed observed;
  if (options.trajectory) observed.trajectory.emplace(steps, kTrajectoryRows, kTrajectoryColumns);
  if (options.animate && !plan.in_order)
    observed.animation.emplace(steps, animated_grid_of(plan).images, sample::kAnimatedSteps);
  return observed;
}

void write_results(const pipeline::SampleOptions& options, const pipeline::SamplePlan& plan,
                   const sample::PictureFolder& folder, const Beside& beside,
                   const pipeline::PictureNotes& notes, const Observed& observed,
                   const Sampled& sampled) {
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

void print_summary(const pipeline::SampleOptions& options, const pipeline::SamplePlan& plan,
                   const sample::PictureFolder& folder, const Beside& beside,
                   const Sampled& sampled) {
  const sample::GenerateResult& result = sampled.result;
  const double rate = static_cast<double>(result.images) / std::max(result.seconds, 1e-9);
  std::vector<std::string> files;
  const std::vector<int64_t> only = pipeline::only_images(options, plan);
  for (const int64_t i : only.empty() ? sample::image_range(0, plan.config.num) : only)
    files.push_back(folder.file_of(i).string());
  if (!options.json) {
    if (result.images > 0)
      spdlog::info("{} images in {} ({:.2f} images/s, {} steps each) in {}", result.images,
                   format_duration(result.seconds), rate, plan.config.steps,
                   folder.path().string());
    fmt::print("{}\n",
               fmt::join(beside.grid.empty() ? files : std::vector{beside.grid.string()}, "\n"));
    return;
  }
  auto json = io::parsed_json(plan.source);
  json.update(io::parsed_json(plan.settings));
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

}  // namespace ddpm::cli
