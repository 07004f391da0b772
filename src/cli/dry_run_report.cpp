#include "dry_run_report.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/checkpoint/content.h"
#include "ddpm/checkpoint/run_lock.h"
#include "ddpm/checkpoint/store.h"
#include "ddpm/cli/app.h"
#include "ddpm/kernels/device.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/train/advice.h"
#include "ddpm/train/dry_run.h"
#include "ddpm/train/holdout.h"
#include "print_row.h"
#include "processes.h"

#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

std::string share_of(double seconds, double step_s) {
  return fmt::format("{} ({:.0f} % of a step)", format_duration(seconds), 100.0 * seconds / step_s);
}

// The folder that holds `path`, or would once it is made.
fs::path existing_folder(fs::path path) {
  path = fs::absolute(path);
  while (!fs::exists(path) && path.has_parent_path()) path = path.parent_path();
  return path;
}

// From where, and with what weights, training would begin; throws what it would throw.
struct Beginning {
  fs::path checkpoint;  // empty: step 0
  train::Resumption resumption;
  train::Preparation prepare;
};

Beginning beginning_of(const train::Experiment& experiment, const config::Document& document,
                       data::Split& data, const fs::path& run, const train::ResumePolicy& policy) {
  checkpoint::RunLock::expect_free(run);
  checkpoint::CheckpointStore store(run / "checkpoints");
  Beginning b{train::choose_checkpoint(store, policy, run), {}, {}};
  if (b.checkpoint.empty()) {
    b.prepare = [&policy](train::Learner& learner) {
      if (policy.initialize) policy.initialize(*learner.unet());
      learner.begin_();
    };
    return b;
  }
  const auto numbers = train::classes_of_run(b.checkpoint, experiment, *data.training);
  if (!numbers.empty()) data = train::in_class_order(data, numbers);
  b.resumption = train::compare_with(
      b.checkpoint,
      {run, experiment, document, *data.training,
       nn::to_toml({experiment.unet, experiment.diffusion, data.training->class_names()}),
       data.training->fingerprint()});
  b.prepare = [&experiment, checkpoint = b.checkpoint](train::Learner& learner) {
    const checkpoint::TrainingTensors tensors = learner.empty_tensors();
    checkpoint::read_checkpoint(checkpoint, *learner.unet(), experiment.ema.decays, tensors);
    learner.restore_(tensors);
  };
  return b;
}

}  // namespace

int print_dry_run(const train::Experiment& experiment, const config::Document& document,
                  data::Split data, const torch::Device& device, const fs::path& run,
                  const train::ResumePolicy& policy) {
  const fs::path disk = existing_folder(run);
  if (!fs::is_directory(disk) || ::access(disk.c_str(), W_OK) != 0) {
    throw IoError(
        run, fmt::format("cannot be made in {}; choose another folder with --out", disk.string()));
  }
  print_row("data", data.training->description());
  if (data.held_out) print_row("held out", with_commas(data.held_out->size()) + " images");
  if (const std::string hint = train::class_hint(experiment, *data.training); !hint.empty())
    print_row("classes", hint);
  const Beginning b = beginning_of(experiment, document, data, run, policy);
  const int64_t step = b.resumption.state.step;
  print_row("run", !b.checkpoint.empty()
                       ? fmt::format("{}, would go on from step {}", run.string(), step)
                       : fmt::format("{}, would start at step 0{}", run.string(),
                                     policy.initialize ? " from given weights" : ""));
  if (!b.resumption.changes.empty())
    print_row("changed",
              fmt::format("since step {}: {}", step, fmt::join(b.resumption.changes, ", ")));
  if (!b.resumption.rate.empty()) print_row("", b.resumption.rate);
  if (!b.checkpoint.empty() && policy.initialize)
    print_row("", "the weights of --init-from would not be taken: the run goes on with its own");

  const auto prepare = [&](train::Learner& learner) {
    b.prepare(learner);
    if (data.held_out)  // reads its images
      train::Holdout(*data.held_out, learner.settings(), experiment.train.batch_size);
  };
  const train::DryRunReport r = train::dry_run(experiment, *data.training, device, prepare);
  const train::TrainConfig& train = experiment.train;
  const nn::ImageSpec& image = experiment.unet.image;
  print_row("network",
            fmt::format("{} parameters, for {}x{} images of {}", with_commas(r.parameters),
                        image.height, image.width, counted(image.channels, "channel")));
  print_row(
      "device",
      fmt::format("{} on {}", nn::describe_arithmetic(train.precision, train.deterministic, device),
                  describe_device(device)));
  print_row("a step",
            fmt::format("{} for {} images: {:.1f} images/s (median of {}; slowest {}, first {})",
                        format_duration(r.step_s), train.batch_size,
                        static_cast<double>(train.batch_size) / r.step_s, r.timed_steps,
                        format_duration(r.slowest_step_s), format_duration(r.first_step_s)));
  if (device.is_cpu() && train.precision == nn::Precision::kFp32 &&
      experiment.unet.channels % 32 == 0 && kernels::has_amx()) {
    print_row("faster",
              "train.precision = \"bf16\": this processor multiplies it in tiles (Intel AMX)");
  }
  print_row("a batch", share_of(r.batch_s, r.step_s) + " to read and decode, in the background");
  print_row("memory", fmt::format("{} at the peak{}",
                                  format_bytes(static_cast<uint64_t>(r.memory_mib * (1 << 20))),
                                  device.is_cuda() ? " on the GPU" : ", the whole process"));
  print_row("loss", fmt::format("{:.4f} over the first steps", r.loss));
  const auto kept =
      static_cast<uint64_t>(train.keep_last + 1) +
      static_cast<uint64_t>(train.keep_every > 0 ? train.steps / train.keep_every : 0);
  const uint64_t room = fs::space(disk).available;
  print_row(
      "checkpoints",
      fmt::format("{} each, up to {} at a time: {}; {} are free", format_bytes(r.checkpoint_bytes),
                  kept, format_bytes(kept * r.checkpoint_bytes), format_bytes(room)));
  const double seconds = train::predicted_seconds(r, experiment, step);
  const auto end = std::time(nullptr) + static_cast<std::time_t>(seconds);
  print_row("prediction", fmt::format("{} steps take {}: done at {:%Y-%m-%d %H:%M}",
                                      with_commas(std::max<int64_t>(0, train.steps - step)),
                                      format_duration(seconds), fmt::localtime(end)));
  for (const std::string& line : train::long_training_advice(
           experiment, std::max<int64_t>(0, train.steps - step), seconds, device)) {
    print_row("", line);
  }
  if (kept * r.checkpoint_bytes > room) {
    throw IoError(disk,
                  "has not room for the checkpoints; lower train.keep_last, raise "
                  "train.keep_every, or choose another disk with --out");
  }
  print_row("", "nothing was trained and nothing written");
  return kOk;
}

}  // namespace ddpm::cli
