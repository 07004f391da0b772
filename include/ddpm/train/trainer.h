#pragma once

#include "ddpm/base/signals.h"
#include "ddpm/train/deadline.h"
#include "ddpm/train/experiment.h"
#include "ddpm/train/resume.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace ddpm::train {

class TrainingRun;

/// Why a run ended without an error.
struct StopConditions {
  StopSignal& signal;
  Deadline deadline;
};

/// How good samples are: their Frechet distance from the training images, with its standard error.
struct Quality {
  double frechet = 0.0, error = 0.0;
  std::string fault = {};  ///< of the samples' colours, for people; "" if there is none
};
/// Samples from a checkpoint and measures. Collective; the result is rank 0's.
using MeasureQuality = std::function<Quality(const std::filesystem::path& checkpoint)>;

/// Writes what a run holds so far for people (RUN/report.html).
using ReportRun = std::function<void()>;

/// Called on the process that becomes rank 0, because those before it are lost. It then holds the
/// run's lock.
using BecomeMain = std::function<void()>;

enum class TrainOutcome {
  kFinished,  ///< all train.steps are done, or samples improved no more (train.eval_patience)
  kStopped,   ///< by a signal, the deadline or lost ranks; the last step is saved
};

/// One training run in one folder (Algorithm 1, Ho 2020). It makes the folder, holds its lock,
/// resumes, trains, and writes checkpoints, metrics and sample grids. Each rank has a Trainer. Only
/// rank 0 accesses the folder. All ranks make the same decisions.
class Trainer {
 public:
  /// `experiment` was read from `document`; `run` is the run's folder. Allocates the network and
  /// restores the checkpoint. `document`, `stop.signal` and `world` must outlive it. Throws
  /// IoError, ConfigError or UsageError.
  Trainer(Experiment experiment, config::Document& document, data::Split data,
          const torch::Device& device, const std::filesystem::path& run, const ResumePolicy& resume,
          const StopConditions& stop, const dist::World& world = dist::single_process());
  ~Trainer();

  /// Measures samples with it every train.eval_every steps and at the end, keeps the best checkpoint
  /// as RUN/best, and writes RUN/quality.jsonl. Call it before run().
  void measure_with_(MeasureQuality measure);

  /// Calls it on rank 0 when training ends or stops and, if train.report says so, with each save. Its
  /// time does not count as training. What it throws costs a warning. Call it before run().
  void report_with_(ReportRun report);

  /// With run.on_lost_rank = "shrink": if ranks are lost, run() goes on with the others. `world` is
  /// the constructor's. Call it before run().
  void shrink_with_(dist::World& world, BecomeMain become_main);

  /// Trains until train.steps or a request to stop, and saves.
  TrainOutcome run();

  int64_t step() const;
  nn::UNet unet() const;
  /// "128", or "128 (4 processes x 2 rounds x 16 images)" if the batch is divided.
  std::string batch_description() const;

 private:
  std::unique_ptr<TrainingRun> run_;
};

}  // namespace ddpm::train
