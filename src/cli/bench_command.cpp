#include "ddpm/base/device.h"
#include "ddpm/base/signals.h"
#include "ddpm/bench/benchmark.h"
#include "ddpm/cli/app.h"
#include "ddpm/dist/launch.h"
#include "flags.h"
#include "shared_flags.h"

#include <algorithm>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::cli {
namespace {

struct BenchOptions : ConfigFlags {
  std::string device;
  int64_t batch = 0;
  bool json = false;
  bench::Options bench;
};

void check_parts(const std::vector<std::string>& parts) {
  const auto& names = bench::part_names();
  for (const std::string& part : parts) {
    if (std::find(names.begin(), names.end(), part) == names.end()) {
      throw UsageError(
          fmt::format("--what \"{}\" is unknown; use {}", part, fmt::join(names, ", ")));
    }
  }
}

int run_bench(const BenchOptions& options) {
  const EndOnSignal ending("the measurements are lost", kKilled, bench::remove_scratch);
  check_parts(options.bench.parts);
  config::Document document = load_config(options);
  if (options.batch > 0) document.set(fmt::format("train.batch_size={}", options.batch));
  set_run_device_(document, options.device);
  train::Experiment experiment = train::read_experiment(document);
  const int64_t timesteps = experiment.diffusion.schedule.timesteps;
  if (options.bench.sample_steps > timesteps) {
    throw UsageError(
        fmt::format("--sample-steps {}: this network has {} time steps (diffusion.timesteps)",
                    options.bench.sample_steps, timesteps));
  }
  const torch::Device device = parse_device(experiment.run.device);
  train::resolve_precision(experiment, device);
  dist::set_threads(dist::threads_of_rank(experiment.run.threads, {}));
  const data::Split data = train::open_data(experiment, document);
  train::resolve_unet(experiment, document, *data.training);
  const bench::Report report = bench::run(experiment, data, device, options.bench);
  if (options.json) {
    fmt::print("{}\n", bench::to_json(report));
  } else {
    fmt::print("{}", bench::to_text(report));
  }
  return kOk;
}

}  // namespace

void add_bench(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand(
      "bench", "Measure training, sampling, data and checkpoints, and what the machine could do");
  add_config_flags(*command, *options);
  add_run_device_flag(*command, options->device);
  command->add_option("--what", options->bench.parts, "parts to measure")
      ->type_name("PART")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--batch", options->batch, "images per batch (default: train.batch_size)")
      ->check(whole(1, int64_t{1} << 20));
  command->add_option("--repeats", options->bench.repeats, "runs of each part; the median counts")
      ->check(whole(1, 100000))
      ->capture_default_str();
  command->add_option("--warm-up", options->bench.warm_up, "runs before them")
      ->check(whole(0, 1000))
      ->capture_default_str();
  command
      ->add_option("--sample-steps", options->bench.sample_steps,
                   "denoising steps per image (DDIM) (default: 10)")
      ->check(whole(1, 100000));
  command
      ->add_option("--data-images", options->bench.data_images,
                   "images to read in one run, at most")
      ->check(whole(1, int64_t{1} << 40))
      ->capture_default_str();
  command->add_flag("--profile", options->bench.profile,
                    "also list one training step by operation, on a GPU by kernel");
  command
      ->add_option("--trace", options->bench.trace,
                   "also write one training step in Chrome's trace format (ui.perfetto.dev)")
      ->type_name("FILE");
  add_json_flag(*command, options->json);
  command->footer("Example:\n  ddpm bench --config configs/mnist.toml --what train");
  command->callback([options, &chosen] { chosen = [options] { return run_bench(*options); }; });
}

}  // namespace ddpm::cli
