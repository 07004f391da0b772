#include "choice_flags.h"
#include "ddpm/base/device.h"
#include "ddpm/base/progress.h"
#include "ddpm/base/text.h"
#include "ddpm/checkpoint/averages.h"
#include "ddpm/cli/app.h"
#include "ddpm/data/dataset.h"
#include "ddpm/dist/launch.h"
#include "ddpm/dist/world.h"
#include "ddpm/exchange/model.h"
#include "ddpm/io/file.h"
#include "ddpm/report/report.h"
#include "ddpm/train/advice.h"
#include "ddpm/train/beginning.h"
#include "ddpm/train/resume.h"
#include "ddpm/train/run_folder.h"
#include "ddpm/train/trainer.h"
#include "dry_run_report.h"
#include "flags.h"
#include "processes.h"
#include "quality_meter.h"
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
  train::ChoiceRequest choice;  // of PICTURES, in place of --config
  std::string out;
  std::string resume = "auto";
  std::string init_from;
  std::string device;
  std::string time_limit;
  bool dry_run = false;
  train::Cluster cluster;  // --as-ranks and its relatives
  double node_bandwidth_gb = 300, network_bandwidth_gb = 40, latency_us = 10;
  bool finish = false;
};

train::ResumePolicy resume_policy(const std::string& text) {
  if (text == "auto") return {train::ResumePolicy::Kind::kAuto, {}, {}};
  if (text == "never") return {train::ResumePolicy::Kind::kNever, {}, {}};
  return {train::ResumePolicy::Kind::kFrom, text, {}};
}

// --out; else the run that the config lies in; else runs/NAME-OF-CONFIG or runs/NAME-OF-PICTURES.
fs::path run_folder(const TrainOptions& options) {
  if (!options.out.empty()) return options.out;
  if (!options.choice.pictures.empty())
    return fs::path("runs") / train::name_of_pictures(options.choice.pictures);
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

// The next start reads from it what this one found out about the image files.
void save_index(const data::Dataset& dataset, const fs::path& run) {
  try {
    dataset.save_index(run / data::kIndexName);
  } catch (const IoError& error) {  // costs time at the next start, but not the run
    spdlog::warn("{} (training continues without it)", error.what());
  }
}

train::Deadline deadline_of(const TrainOptions& options) {
  if (options.time_limit.empty()) return {};
  return train::Deadline(train::parse_duration(options.time_limit, "--time-limit"));
}

// The settings of the config and of --init-from.
struct Setup {
  config::Document document;
  train::Experiment experiment;
  std::optional<exchange::Model> initial;  // --init-from
};

config::Document read_config(const TrainOptions& options, const dist::Launch& launch) {
  if (options.choice.pictures.empty()) return load_config(options.config, {});
  dist::set_threads(dist::threads_of_rank(0, launch));
  train::ChoiceRequest request = options.choice;
  request.device = options.device;
  return train::config_for_pictures(request, run_folder(options), options.overrides,
                                    launch.single(), !options.dry_run);
}

Setup read_setup(const TrainOptions& options, const dist::Launch& launch) {
  config::Document document = read_config(options, launch);
  std::optional<exchange::Model> initial;
  if (!options.init_from.empty()) {
    initial = exchange::open(options.init_from);
    train::set_model_sections(document, initial->description, options.init_from);
  }
  for (const std::string& assignment : options.overrides) document.set(assignment);
  set_run_device_(document, options.device);
  train::Experiment experiment = train::read_experiment(document);
  return {std::move(document), std::move(experiment), std::move(initial)};
}

dist::World join_run(const Setup& s, const dist::Launch& launch, const torch::Device& device,
                     const fs::path& run) {
  dist::World world = join(
      launch, device, std::chrono::seconds(s.experiment.run.peer_timeout),
      {{{"the run's folder", run.lexically_normal().string()}}, train::shared_settings(s.document)},
      s.experiment.run.on_lost_rank);
  world.expect_own_gpus();
  return world;
}

// Opens the data, and completes the network's description with the shape of its images.
data::Split open_data(Setup& s, const TrainOptions& options, const fs::path& run,
                      const dist::World& world) {
  data::Split data = train::open_data(s.experiment, s.document, world, run / data::kIndexName);
  if (s.initial) {
    data = train::with_classes_of(s.initial->description, options.init_from, s.experiment,
                                  std::move(data));
  }
  train::resolve_unet(s.experiment, s.document, *data.training);
  if (s.initial)
    train::check_same_shape(s.initial->description, options.init_from, s.experiment.unet);
  if (world.size() > 1) world.expect_same("data", data::identity_of(*data.training));
  return data;
}

train::ResumePolicy resume_policy(const TrainOptions& options, const Setup& s) {
  train::ResumePolicy policy = resume_policy(options.resume);
  if (s.initial)
    policy.initialize = [&s](nn::UNetImpl& unet) {
      exchange::load_weights_(exchange::widened(*s.initial, unet.config()), unet);
    };
  return policy;
}

// All checks that need the run's folder, before it is made.
void check_run(Setup& s, const fs::path& run, const train::ResumePolicy& resume) {
  train::check_run_folder(run, s.experiment.data);
  if (resume.kind == train::ResumePolicy::Kind::kFrom) {
    checkpoint::CheckpointStore store(run / "checkpoints");
    train::choose_checkpoint(store, resume, run);
  }
  train::check_trainable(s.experiment, s.document, train::begins_anew(run, resume),
                         s.initial.has_value());
}

void log_run(const Setup& s, const TrainOptions& options, const fs::path& run,
             const data::Split& data) {
  spdlog::info("run {}: {}{}", run.string(), data.training->description(),
               data.held_out
                   ? fmt::format(" to train on, {} held out", with_commas(data.held_out->size()))
                   : "");
  if (const std::string hint = train::class_hint(s.experiment, *data.training); !hint.empty())
    spdlog::info("{}", hint);
  if (s.initial)
    spdlog::info("network and schedule are those of {} ({})", options.init_from, s.initial->origin);
}

void log_network(const train::Experiment& e, const train::Trainer& trainer,
                 const torch::Device& device) {
  spdlog::info("network: {} parameters; {} on {}; batch {}, {} steps",
               with_commas(nn::parameter_count(*trainer.unet())),
               nn::describe_arithmetic(e.train.precision, e.train.deterministic, device),
               describe_device(device), trainer.batch_description(), with_commas(e.train.steps));
}

void log_how_to_sample(const train::Experiment& e, const train::Trainer& trainer,
                       const fs::path& run) {
  const bool young =
      !checkpoint::young_average(e.ema.decays.front(), e.ema.warmup, trainer.step()).empty();
  spdlog::info("to sample from it: ddpm sample --ckpt {} --steps 50 --ddim{}", run.string(),
               young ? " --weights raw" : "");
}

// Whether this process makes the run's page, now or when it has become rank 0.
bool writes_report(const train::Experiment& e, const dist::World& world) {
  const bool may_write = world.is_main() || e.run.on_lost_rank == dist::OnLostRank::kShrink;
  if (!may_write || e.train.report == train::ReportTime::kNever) return false;
  if (!report::has_charts() && world.is_main() && e.train.report == train::ReportTime::kCheckpoints)
    spdlog::warn("train.report: this ddpm was built without libjs-chart.js; no report is made");
  return report::has_charts();
}

// There is nothing to save before the first step.
void end_at_once_on(StopSignal& signal, bool dry_run) {
  if (dry_run) {
    signal.end_at_once("stopped; nothing was trained and nothing written", kKilled);
  } else {
    signal.end_at_once("stopped before a step was taken; run the same command again", kStopped);
  }
}

void expect_possible(const TrainOptions& o) {
  expect_one_source(o.choice, o.config);
  if (o.choice.pictures.empty() || (o.init_from.empty() && !o.finish)) return;
  throw UsageError(fmt::format("{} goes with --config; ddpm init {} writes one",
                               o.finish ? "--finish" : "--init-from", o.choice.pictures));
}

train::Cluster cluster_of(const TrainOptions& o) {
  train::Cluster cluster = o.cluster;
  cluster.node_bandwidth = o.node_bandwidth_gb * 1e9;
  cluster.network_bandwidth = o.network_bandwidth_gb * 1e9;
  cluster.latency = o.latency_us * 1e-6;
  return cluster;
}

// The cluster that --dry-run predicts for.
void add_cluster_flags(CLI::App& command, CLI::Option* dry_run, TrainOptions& o) {
  constexpr const char* kGroup = "Prediction for a cluster";
  command
      .add_option("--as-ranks", o.cluster.ranks,
                  "with --dry-run: predict for so many processes with one GPU each; measures the "
                  "share of one")
      ->check(whole(1, 1'000'000))
      ->needs(dry_run)
      ->group(kGroup);
  command.add_option("--gpus-per-node", o.cluster.ranks_per_node, "processes per machine there")
      ->check(whole(1, 1024))
      ->capture_default_str()
      ->needs(dry_run)
      ->group(kGroup);
  command
      .add_option("--node-bandwidth", o.node_bandwidth_gb,
                  "of a ring between the GPUs of a machine, GB/s")
      ->check(real(1e-3, 1e6))
      ->capture_default_str()
      ->needs(dry_run)
      ->group(kGroup);
  command
      .add_option("--network-bandwidth", o.network_bandwidth_gb,
                  "of a ring between machines, GB/s per process")
      ->check(real(1e-3, 1e6))
      ->capture_default_str()
      ->needs(dry_run)
      ->group(kGroup);
  command.add_option("--network-latency", o.latency_us, "of one hop, microseconds")
      ->check(real(0, 1e6))
      ->capture_default_str()
      ->needs(dry_run)
      ->group(kGroup);
}

int run_train(const TrainOptions& options) {
  StopSignal signal;
  end_at_once_on(signal, options.dry_run);
  const train::Deadline deadline = deadline_of(options);
  expect_possible(options);
  const dist::Launch launch = detected_launch();
  Setup s = read_setup(options, launch);
  const train::Cluster cluster = cluster_of(options);
  train::check_shares(s.experiment, s.document, std::max(launch.world_size, cluster.ranks));
  const torch::Device device = train::rank_device(s.experiment.run.device, launch);
  train::check_lost_ranks(s.experiment, s.document, launch.world_size, device);
  train::resolve_precision(s.experiment, device);
  dist::set_threads(dist::threads_of_rank(s.experiment.run.threads, launch));
  if (options.dry_run && !launch.single())
    throw UsageError(fmt::format("--dry-run measures a single process, but {} were started ({})",
                                 launch.world_size, launch.found));
  const fs::path run = run_folder(options);
  Processes processes{join_run(s, launch, device, run), device};
  const dist::World& world = processes.world;
  if (options.finish) train::finish_from_here_(s.experiment, s.document, run, world);
  if (!launch.single())
    world.expect_same("train.precision", config::to_string(s.experiment.train.precision));
  // All processes stop together, so that each ends with the same status.
  if (!launch.single()) signal.ask(world.is_main() ? "stopping before the first step" : nullptr);
  data::Split data = open_data(s, options, run, world);
  if (world.any(signal.stop_requested())) {
    spdlog::info("stopped before a step was taken; run the same command again");
    return kStopped;
  }

  const train::ResumePolicy resume = resume_policy(options, s);
  world.on_main("check the run's folder", [&] {
    if (!options.finish) train::expect_not_finishing(run);
    check_run(s, run, resume);
  });
  if (options.dry_run)
    return print_dry_run(s.experiment, s.document, data, device, run, resume, cluster);
  if (world.is_main()) {
    log_to_file(run);
    save_index(*data.training, run);
  }
  log_run(s, options, run, data);
  train::Trainer trainer(s.experiment, s.document, std::move(data), device, run, resume,
                         {signal, deadline}, world);
  if (s.experiment.train.eval_every > 0)
    trainer.measure_with_(quality_meter(s.experiment, processes));
  if (writes_report(s.experiment, world))
    trainer.report_with_([run] { report::write_report({run}, run / "report.html"); });
  if (!launch.single() && s.experiment.run.on_lost_rank == dist::OnLostRank::kShrink)
    trainer.shrink_with_(processes.world, [run] {
      log_as_main();
      log_to_file(run);
    });
  log_network(s.experiment, trainer, device);
  if (trainer.run() == train::TrainOutcome::kStopped) return kStopped;
  log_how_to_sample(s.experiment, trainer, run);
  return kOk;
}

}  // namespace

void add_train(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* command = app.add_subcommand("train", "Train a network (Algorithm 1), or resume a run");
  command->add_option(
      "pictures", options->choice.pictures,
      "a folder, zip or tar of images, or another data set: settings are chosen as by ddpm init; "
      "the same command resumes");
  add_config_flags(*command, *options);
  command->get_option("--config")->required(false);
  add_choice_flags(*command, options->choice);
  add_folder_flag(*command, options->out,
                  "the run's folder (default: runs/NAME, from the config's or the pictures' name)");
  command
      ->add_option("--resume", options->resume,
                   "auto: resume from the run's newest valid checkpoint; never: start anew; or a "
                   "checkpoint's path")
      ->type_name("auto|never|PATH")
      ->capture_default_str();
  command
      ->add_option("--init-from", options->init_from,
                   "start from a trained network instead of random weights: a run, a checkpoint, a "
                   "diffusers folder, or a file of weights; its [model] and [diffusion] replace "
                   "those of the config")
      ->type_name("PATH");
  add_run_device_flag(*command, options->device);
  command
      ->add_option("--time-limit", options->time_limit,
                   "save and stop (status 75) within this time: 45m, 3h50m or 03:50:00")
      ->type_name("TIME");
  auto* finish = command->add_flag(
      "--finish", options->finish,
      "end the run from its newest checkpoint: with optimizer.decay = \"stable\" the "
      "learning rate falls to 0 over optimizer.decay_steps from there");
  auto* dry_run =
      command
          ->add_flag("--dry-run", options->dry_run,
                     "check everything, measure a few steps, predict the duration; train nothing")
          ->excludes(finish);
  add_cluster_flags(*command, dry_run, *options);
  command->footer(
      "Examples: an hour on your own pictures, and with a config\n"
      "  ddpm train PICTURES\n"
      "  ddpm train --config configs/folder.toml --set data.path=PICTURES --out runs/mine");
  command->callback([options, &chosen] { chosen = [options] { return run_train(*options); }; });
}

}  // namespace ddpm::cli
