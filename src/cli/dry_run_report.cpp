#include "dry_run_report.h"

#include "ddpm/base/device.h"
#include "ddpm/base/error.h"
#include "ddpm/base/host.h"
#include "ddpm/base/text.h"
#include "ddpm/cli/app.h"
#include "ddpm/kernels/device.h"
#include "ddpm/train/advice.h"
#include "ddpm/train/beginning.h"
#include "ddpm/train/dry_run.h"
#include "ddpm/train/holdout.h"
#include "print_row.h"
#include "processes.h"

#include <algorithm>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

std::string with_percentage(double seconds, double step_s) {
  return fmt::format("{} ({:.0f} % of a step)", format_duration(seconds), 100.0 * seconds / step_s);
}

// The existing folder that holds `path` or, if `path` does not exist, in which it would be made.
// Throws IoError if nothing can be written there.
fs::path writable_folder(const fs::path& path) {
  fs::path folder = fs::absolute(path);
  while (!fs::exists(folder) && folder.has_parent_path()) folder = folder.parent_path();
  if (fs::is_directory(folder) && ::access(folder.c_str(), W_OK) == 0) return folder;
  throw IoError(
      path, fmt::format("cannot be made in {}; choose another folder with --out", folder.string()));
}

void print_data(const train::Experiment& experiment, const data::Split& data) {
  print_row("data", data.training->description());
  if (data.held_out) print_row("held out", with_commas(data.held_out->size()) + " images");
  if (const std::string hint = train::class_hint(experiment, *data.training); !hint.empty())
    print_row("classes", hint);
}

void print_beginning(const train::Beginning& b, const fs::path& run, bool given_weights) {
  const int64_t step = b.resumption.state.step;
  const bool resumes = !b.checkpoint.empty();
  print_row("run", resumes ? fmt::format("{}, would resume from step {}", run.string(), step)
                           : fmt::format("{}, would start at step 0{}", run.string(),
                                         given_weights ? " from given weights" : ""));
  if (!b.resumption.changes.empty())
    print_row("changed",
              fmt::format("since step {}: {}", step, fmt::join(b.resumption.changes, ", ")));
  if (!b.resumption.rate.empty()) print_row("", b.resumption.rate);
  if (resumes && given_weights)
    print_row("", "the weights of --init-from would not be used: the run resumes with its own");
}

void print_network(const train::Experiment& experiment, const train::DryRunReport& r,
                   const torch::Device& device) {
  const train::TrainConfig& train = experiment.train;
  const nn::ImageSpec& image = experiment.unet.image;
  print_row("network",
            fmt::format("{} parameters, for {}x{} images of {}", with_commas(r.parameters),
                        image.height, image.width, counted(image.channels, "channel")));
  print_row(
      "device",
      fmt::format("{} on {}", nn::describe_arithmetic(train.precision, train.deterministic, device),
                  describe_device(device)));
}

void print_costs(const train::Experiment& experiment, const train::DryRunReport& r,
                 const torch::Device& device) {
  const train::TrainConfig& train = experiment.train;
  print_row("a step",
            fmt::format("{} for {} images: {:.1f} images/s (median of {}; slowest {}, first {})",
                        format_duration(r.step_s), train.batch_size,
                        static_cast<double>(train.batch_size) / r.step_s, r.timed_steps,
                        format_duration(r.slowest_step_s), format_duration(r.first_step_s)));
  if (device.is_cpu() && train.precision == nn::Precision::kFp32 &&
      experiment.unet.channels % 32 == 0 && kernels::has_amx()) {
    print_row("faster",
              "train.precision = \"auto\" is bf16 here: this processor has matrix tiles for it "
              "(Intel AMX)");
  }
  print_row("a batch",
            with_percentage(r.batch_s, r.step_s) + " to read and decode, in the background");
  print_row("memory", fmt::format("{} at the peak{}",
                                  format_bytes(static_cast<uint64_t>(r.memory_mib * (1 << 20))),
                                  device.is_cuda() ? " on the GPU" : ", the whole process"));
  print_row("loss", fmt::format("{:.4f} over the first steps", r.loss));
}

// The disk space that a run's checkpoints and snapshots need, and that is available.
struct DiskSpace {
  uint64_t checkpoints, bytes, snapshots, snapshot_bytes, available;
};

DiskSpace space_for(const train::Experiment& experiment, const train::DryRunReport& r,
                    const fs::path& disk) {
  const train::TrainConfig& train = experiment.train;
  const auto kept =
      static_cast<uint64_t>(train.keep_last + 1) +
      static_cast<uint64_t>(train.keep_every > 0 ? train.steps / train.keep_every : 0);
  const int64_t every = experiment.ema.snapshot_interval(train.steps);
  const auto snapshots = static_cast<uint64_t>(every > 0 ? train.steps / every : 0);
  return {kept, kept * r.checkpoint_bytes, snapshots, snapshots * r.snapshot_bytes,
          fs::space(disk).available};
}

void print_disk(const train::Experiment& experiment, const train::DryRunReport& r,
                const DiskSpace& space) {
  print_row("checkpoints", fmt::format("{} each, up to {} at a time: {}; {} are free",
                                       format_bytes(r.checkpoint_bytes), space.checkpoints,
                                       format_bytes(space.bytes), format_bytes(space.available)));
  if (space.snapshots == 0) return;
  print_row("EMA snapshots",
            fmt::format("{} each, {} of lengths {}, all kept: {}", format_bytes(r.snapshot_bytes),
                        space.snapshots, fmt::join(experiment.ema.power_lengths, " and "),
                        format_bytes(space.snapshot_bytes)));
}

uint64_t weight_bytes(const train::DryRunReport& r) {
  return static_cast<uint64_t>(r.parameters) * sizeof(float);
}

train::StepCost cost_there(const train::Experiment& experiment, const train::DryRunReport& r,
                           const train::Cluster& cluster) {
  return train::cost_of_step(cluster, {.compute_s = r.step_s,
                                       .accumulate = experiment.train.accumulate,
                                       .gradient_bytes = weight_bytes(r),
                                       .buckets = r.buckets,
                                       .sharded = experiment.train.shard_optimizer});
}

void print_cluster(const train::Experiment& experiment, const train::Cluster& cluster) {
  const train::TrainConfig& train = experiment.train;
  const int64_t share = train.batch_size / cluster.ranks;
  print_row("cluster",
            fmt::format("{} processes on {}, on paper; one process' share is measured "
                        "here",
                        with_commas(cluster.ranks), counted(cluster.nodes(), "machine")));
  print_row("a share",
            fmt::format("{} of {} images{}", share, with_commas(train.batch_size),
                        train.accumulate > 1 ? fmt::format(", in {} rounds of {}", train.accumulate,
                                                           share / train.accumulate)
                                             : ""));
}

void print_messages(const train::Experiment& experiment, const train::DryRunReport& r,
                    const train::Cluster& cluster, const train::StepCost& cost) {
  print_row("links", fmt::format("{} GB/s within a machine, {} GB/s per process between "
                                 "machines, {} us per hop: assumed",
                                 three_digits(cluster.node_bandwidth * 1e-9),
                                 three_digits(cluster.network_bandwidth * 1e-9),
                                 three_digits(cluster.latency * 1e6)));
  print_row("messages",
            fmt::format("{} in {}: {}, of which {} are not hidden", format_bytes(weight_bytes(r)),
                        counted(r.buckets, "bucket"), format_duration(cost.messages_s),
                        format_duration(cost.exposed_s)));
  print_row("a step there",
            fmt::format("{}: {} images/s, efficiency {:.2f}", format_duration(cost.step_s),
                        with_commas(static_cast<int64_t>(
                            static_cast<double>(experiment.train.batch_size) / cost.step_s)),
                        cost.efficiency));
  const int64_t beside = std::min(cluster.ranks, cluster.ranks_per_node);
  print_row("reading there",
            with_percentage(r.batch_s * static_cast<double>(beside), cost.step_s) +
                fmt::format(" for {} processes with the cores of this machine", beside));
  if (!experiment.train.shard_optimizer) return;
  const auto averages = experiment.ema.decays.size() + experiment.ema.power_lengths.size();
  print_row("memory there",
            fmt::format("{} less in each process (train.shard_optimizer)",
                        format_bytes(train::saved_by_sharding(
                            weight_bytes(r), static_cast<int64_t>(averages), cluster.ranks))));
}

void print_prediction(const train::Experiment& experiment, const train::DryRunReport& r,
                      int64_t step, const torch::Device& device) {
  const int64_t steps = std::max<int64_t>(0, experiment.train.steps - step);
  const double seconds = train::predicted_seconds(r, experiment, step);
  const auto end = std::time(nullptr) + static_cast<std::time_t>(seconds);
  print_row("prediction",
            fmt::format("{} steps take {}: done at {:%Y-%m-%d %H:%M}", with_commas(steps),
                        format_duration(seconds), fmt::localtime(end)));
  for (const std::string& line : train::long_training_advice(experiment, steps, seconds, device))
    print_row("", line);
}

}  // namespace

int print_dry_run(const train::Experiment& experiment, const config::Document& document,
                  data::Split data, const torch::Device& device, const fs::path& run,
                  const train::ResumePolicy& policy, const train::Cluster& cluster) {
  const fs::path disk = writable_folder(run);
  print_data(experiment, data);
  const train::Beginning b = train::beginning_of(experiment, document, data, run, policy);
  print_beginning(b, run, policy.initialize != nullptr);
  train::Experiment share = experiment;
  share.train.batch_size /= cluster.ranks;
  if (cluster.ranks > 1) print_cluster(experiment, cluster);

  const auto prepare = [&](train::Learner& learner) {
    b.prepare(learner);
    if (data.held_out)  // reads its images
      train::Holdout(*data.held_out, learner.settings(), experiment.train.batch_size);
  };
  const CoreUse cores;
  train::DryRunReport r = train::dry_run(share, *data.training, device, prepare);
  const std::string busy =
      device.is_cpu() && cores.seconds() > 1.0
          ? train::thread_advice(torch::get_num_threads(), cores.cores(), cores.by_others())
          : "";
  print_network(experiment, r, device);
  print_costs(share, r, device);
  if (!busy.empty()) print_row("faster", busy);
  if (cluster.ranks > 1) {
    const train::StepCost cost = cost_there(experiment, r, cluster);
    print_messages(experiment, r, cluster, cost);
    r.step_s = cost.step_s;
  }
  const DiskSpace space = space_for(experiment, r, disk);
  print_disk(experiment, r, space);
  print_prediction(experiment, r, b.resumption.state.step, device);
  if (space.bytes + space.snapshot_bytes > space.available) {
    throw IoError(disk,
                  "has too little free space for the checkpoints and EMA snapshots; lower "
                  "train.keep_last, raise train.keep_every or ema.snapshot_every, or choose "
                  "another disk with --out");
  }
  print_row("", "nothing was trained and nothing written");
  return kOk;
}

}  // namespace ddpm::cli
