#include "ddpm/base/progress.h"
#include "ddpm/checkpoint/young_average.h"
#include "ddpm/cli/app.h"
#include "ddpm/data/identity.h"
#include "ddpm/dist/threads.h"
#include "ddpm/dist/world.h"
#include "ddpm/exchange/model.h"
#include "ddpm/io/folder.h"
#include "ddpm/train/advice.h"
#include "ddpm/train/init_from.h"
#include "ddpm/train/run_folder.h"
#include "ddpm/train/trainer.h"
#include "dry_run_report.h"
#include "processes.h"
#include "shared_flags.h"

#include <chrono>
#include <optional>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

struct TrainOptions : ConfigFlags {
  std::string out;
  std::string resume = "auto";
  std::string init_from;
  std::string device;
  std::string time_limit;
  bool dry_run = false;
};

train::ResumePolicy resume_policy(const std::string& text) {
  if (text == "auto") return {train::ResumePolicy::Kind::kAuto, {}, {}};
  if (text == "never") return {train::ResumePolicy::Kind::kNever, {}, {}};
  return {train::ResumePolicy::Kind::kFrom, text, {}};
}

// runs/NAME: --out, else the run that the config was written into, else the config's own name below
// runs/.
fs::path run_folder(const TrainOptions& options) {
  if (!options.out.empty()) return options.out;
  const fs::path config = options.config;
  if (config.filename() == "config.toml" && fs::exists(config.parent_path() / "checkpoints")) {
    return config.parent_path();
  }
  return fs::path("runs") / config.stem();
}

void log_to_file(const fs::path& run) {
  io::make_folder(run, "choose another folder with --out");
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>((run / "log.txt").string());
    sink->set_pattern("[%Y-%m-%d %H:%M:%S] %l %v");
    spdlog::default_logger()->sinks().push_back(sink);
    spdlog::default_logger()->flush_on(spdlog::level::info);
  } catch (const spdlog::spdlog_ex& error) {
    throw IoError(run / "log.txt", fmt::format("cannot be written: {}", error.what()));
  }
}

// The next start finds in it what this one has found out of the images.
void save_index(const data::Dataset& dataset, const fs::path& run) {
  try {
    dataset.save_index(run / data::kIndexName);
  } catch (const IoError& error) {  // it costs the next start its time, not the run
    spdlog::warn("{} (training goes on without it)", error.what());
  }
}

train::Deadline deadline_of(const TrainOptions& options) {
  if (options.time_limit.empty()) return {};
  return train::Deadline(train::parse_duration(options.time_limit, "--time-limit"));
}

int run_train(const TrainOptions& options) {
  StopSignal signal;
  if (options.dry_run) {
    signal.end_at_once("stopped; nothing was trained and nothing written", kKilled);
  } else {
    signal.end_at_once("stopped before a step was taken; run the same command again", kStopped);
  }
  const train::Deadline deadline = deadline_of(options);
  config::Document document = load_config(options.config, {});
  std::optional<exchange::Model> initial;
  if (!options.init_from.empty()) {
    initial = exchange::open(options.init_from);
    train::set_model_sections(document, initial->description, options.init_from);
  }
  for (const std::string& assignment : options.overrides) document.set(assignment);
  set_run_device_(document, options.device);
  train::Experiment experiment = train::read_experiment(document);
  const dist::Launch launch = detected_launch();
  train::check_shares(experiment, document, launch.world_size);
  const torch::Device device = train::rank_device(experiment.run.device, launch);
  dist::set_threads(dist::threads_of_rank(experiment.run.threads, launch));
  if (options.dry_run && !launch.single())
    throw UsageError(fmt::format("--dry-run measures a single process, but {} were started ({})",
                                 launch.world_size, launch.found));
  const fs::path run = run_folder(options);
  const dist::World world =
      join(launch, device, std::chrono::seconds(experiment.run.peer_timeout),
           {{{"the run's folder", run.lexically_normal().string()}}, shared_settings(document)});
  world.expect_own_gpus();
  // All processes stop together, so that each ends with the same status.
  if (!launch.single()) signal.ask(world.is_main() ? "stopping before the first step" : nullptr);

  data::Split data = train::open_data(experiment, document, world, run / data::kIndexName);
  if (initial)
    data = train::with_classes_of(initial->description, options.init_from, experiment,
                                  std::move(data));
  train::resolve_unet(experiment, document, *data.training);
  if (initial) train::check_same_shape(initial->description, options.init_from, experiment.unet);
  if (!launch.single()) world.expect_same("data", data::identity_of(*data.training));
  if (world.any(signal.stop_requested())) {
    spdlog::info("stopped before a step was taken; run the same command again");
    return kStopped;
  }

  train::ResumePolicy resume = resume_policy(options.resume);
  if (initial)
    resume.initialize = [&](nn::UNetImpl& unet) { exchange::load_weights_(*initial, unet); };
  world.on_main("check the run's folder", [&] {
    train::check_run_folder(run, experiment.data);
    if (resume.kind == train::ResumePolicy::Kind::kFrom) {  // before the run's folder is made
      checkpoint::CheckpointStore store(run / "checkpoints");
      train::choose_checkpoint(store, resume, run);
    }
    train::check_trainable(experiment, document, train::begins_anew(run, resume),
                           initial.has_value());
  });
  if (options.dry_run) return print_dry_run(experiment, document, data, device, run, resume);
  if (world.is_main()) {
    log_to_file(run);
    save_index(*data.training, run);
  }
  spdlog::info("run {}: {}{}", run.string(), data.training->description(),
               data.held_out
                   ? fmt::format(" to train on, {} held out", with_commas(data.held_out->size()))
                   : "");
  if (const std::string hint = train::class_hint(experiment, *data.training); !hint.empty())
    spdlog::info("{}", hint);
  if (initial)
    spdlog::info("network and schedule are those of {} ({})", options.init_from, initial->origin);
  train::Trainer trainer(experiment, document, std::move(data), device, run, resume,
                         {signal, deadline}, world);
  spdlog::info(
      "network: {} parameters; {} on {}; batch {}, {} steps",
      with_commas(nn::parameter_count(*trainer.unet())),
      nn::describe_arithmetic(experiment.train.precision, experiment.train.deterministic, device),
      describe_device(device), trainer.batch_description(), with_commas(experiment.train.steps));
  if (trainer.run() == train::TrainOutcome::kStopped) return kStopped;
  const bool young = !checkpoint::young_average(experiment.ema.decays.front(),
                                                experiment.ema.warmup, trainer.step())
                          .empty();
  spdlog::info("to sample from it: ddpm sample --ckpt {} --steps 50 --ddim{}", run.string(),
               young ? " --weights raw" : "");
  return kOk;
}

}  // namespace

void add_train(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* command = app.add_subcommand("train", "Train a network (Algorithm 1), or resume a run");
  add_config_flags(*command, *options);
  add_folder_flag(*command, options->out, "the run's folder (default: runs/NAME-OF-CONFIG)");
  command
      ->add_option("--resume", options->resume,
                   "auto: resume from the run's newest valid checkpoint; never: start anew; or a "
                   "checkpoint's path")
      ->type_name("auto|never|PATH")
      ->capture_default_str();
  command
      ->add_option("--init-from", options->init_from,
                   "begin with a trained network instead of random weights: a run, a checkpoint, a "
                   "diffusers folder, or a file of weights; its [model] and [diffusion] replace "
                   "those of the "
                   "config")
      ->type_name("PATH");
  add_run_device_flag(*command, options->device);
  command
      ->add_option("--time-limit", options->time_limit,
                   "save and stop (status 75) within this time: 45m, 3h50m or 03:50:00")
      ->type_name("TIME");
  command->add_flag("--dry-run", options->dry_run,
                    "check everything, measure a few steps, predict the end; train nothing");
  command->footer(
      "Example: train on your own images\n"
      "  ddpm train --config configs/folder.toml --set data.path=PICTURES --out runs/mine");
  command->callback([options, &chosen] { chosen = [options] { return run_train(*options); }; });
}

}  // namespace ddpm::cli
