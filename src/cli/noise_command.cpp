#include "ddpm/cli/app.h"
#include "ddpm/diffusion/diffusion.h"
#include "ddpm/diffusion/image_range.h"
#include "ddpm/io/image.h"
#include "ddpm/io/png.h"
#include "ddpm/kernels/elementwise.h"
#include "ddpm/train/experiment.h"
#include "output_path.h"
#include "shared_flags.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

struct NoiseOptions : ConfigFlags {
  std::vector<int64_t> images, times;
  std::string out = "noise.png";
  int64_t seed = 0;
};

// 0, T/8, 2T/8, ..., T.
std::vector<int64_t> default_times(int64_t timesteps) {
  std::vector<int64_t> times;
  for (int64_t k = 0; k <= 8; ++k) {
    const int64_t t = timesteps * k / 8;
    if (times.empty() || t > times.back()) times.push_back(t);
  }
  return times;
}

void check_times(const std::vector<int64_t>& times, int64_t timesteps) {
  for (const int64_t t : times) {
    if (t < 0 || t > timesteps)
      throw UsageError(fmt::format("--t {} must lie in 0..{} (0: the image itself)", t, timesteps));
  }
}

void check_images(const std::vector<int64_t>& images, int64_t count) {
  for (const int64_t index : images) {
    if (index < 0 || index >= count)
      throw UsageError(fmt::format("--images {} must lie in 0..{}", index, count - 1));
  }
}

// One row per image, one column per t: uint8 [rows * columns, C, H, W].
torch::Tensor noised_images(const NoiseOptions& options, const data::Dataset& dataset,
                            const diffusion::Diffusion& diffusion) {
  const RngKey key = rng_key(static_cast<uint64_t>(options.seed), Purpose::kTrainingNoise);
  std::vector<torch::Tensor> cells;
  for (const int64_t index : options.images) {
    const torch::Tensor x0 =
        diffusion::to_model_range(dataset.get(index).image.unsqueeze(0), torch::kFloat);
    const torch::Tensor eps = torch::empty_like(x0);
    kernels::fill_normal_(eps, key, torch::full({1}, index, torch::kLong));
    for (const int64_t t : options.times) {
      cells.push_back(diffusion::to_uint8(
          t == 0 ? x0 : diffusion.noised(x0, torch::full({1}, t, torch::kLong), eps)));
    }
  }
  return torch::cat(cells);
}

void print_times(const std::vector<int64_t>& times, const diffusion::Schedule& schedule,
                 const diffusion::ScheduleConfig& config) {
  fmt::print("columns, from left to right ({} schedule{}, T = {}):\n",
             config::to_string(config.kind), config.zero_terminal_snr ? ", zero terminal SNR" : "",
             schedule.timesteps());
  for (const int64_t t : times) {
    fmt::print("  t = {:<6} alpha_bar = {:<12.6g} SNR = {:.6g}\n", t, schedule.alpha_bar(t),
               t == 0 ? std::numeric_limits<double>::infinity() : schedule.snr(t));
  }
}

int run_noise(NoiseOptions options) {
  config::Document document = load_config(options);
  const train::Experiment experiment = train::read_experiment(document);
  expect_beside_input("--out", options.out, "the images", experiment.data.path);
  expect_own_picture("--out", options.out);
  const diffusion::Diffusion diffusion(experiment.diffusion);
  const int64_t timesteps = diffusion.schedule().timesteps();
  if (options.times.empty()) options.times = default_times(timesteps);
  check_times(options.times, timesteps);
  const auto dataset = data::open_dataset(experiment.data, experiment.run.seed);
  if (options.images.empty()) {
    for (int64_t i = 0; i < std::min<int64_t>(8, dataset->size()); ++i) options.images.push_back(i);
  }
  check_images(options.images, dataset->size());
  const torch::Tensor grid =
      io::make_grid(noised_images(options, *dataset, diffusion), std::ssize(options.times));
  io::write_marked_png(options.out, io::enlarged(grid), "ddpm noise");
  print_times(options.times, diffusion.schedule(), experiment.diffusion.schedule);
  fmt::print("{}\n", options.out);
  return kOk;
}

}  // namespace

void add_noise(CLI::App& app, Command& chosen) {
  auto o = std::make_shared<NoiseOptions>();
  CLI::App* command =
      app.add_subcommand("noise", "Show how images turn into noise, and alpha_bar and SNR");
  add_config_flags(*command, *o);
  command
      ->add_option("--images", o->images,
                   "indices of the images, one row each (default: the first eight)")
      ->delimiter(',');
  command
      ->add_option("--t", o->times, "time steps 0..T, one column each (default: nine from 0 to T)")
      ->delimiter(',');
  add_seed_flag(*command, o->seed);
  add_picture_flag(*command, o->out);
  command->footer(
      "Example:\n"
      "  ddpm noise --config configs/mnist.toml --t 0,100,200,400");
  command->callback([o, &chosen] { chosen = [o] { return run_noise(*o); }; });
}

}  // namespace ddpm::cli
