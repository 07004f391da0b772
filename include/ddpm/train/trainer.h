#pragma once

#include "ddpm/base/signals.h"
#include "ddpm/train/deadline.h"
#include "ddpm/train/experiment.h"
#include "ddpm/train/resume.h"

#include <filesystem>
#include <memory>
#include <string>

namespace ddpm::train {

class TrainingRun;

/// What ends a run before train.steps, besides errors.
struct StopConditions {
  StopSignal& signal;
  Deadline deadline;
};

enum class TrainOutcome {
  kFinished,  ///< all train.steps are done
  kStopped,   ///< a signal or the deadline; a checkpoint was saved
};

/// One training run in one folder (Algorithm 1, Ho 2020). It makes the folder, holds its lock,
/// resumes, trains, and leaves checkpoints, metrics and pictures. In a world of several ranks each
/// has a Trainer; rank 0 alone touches the folder, and all take every decision alike.
class Trainer {
 public:
  /// `document` is where `experiment` was read from; `run` is the run's folder. Allocates the
  /// network and restores the checkpoint. `document`, `stop.signal` and `world` must outlive it.
  /// Throws IoError, ConfigError or UsageError.
  Trainer(Experiment experiment, config::Document& document, data::Split data,
          const torch::Device& device, const std::filesystem::path& run, const ResumePolicy& resume,
          const StopConditions& stop, const dist::World& world = dist::single_process());
  ~Trainer();

  /// Trains up to train.steps or until it is asked to stop, and saves.
  TrainOutcome run();

  int64_t step() const;
  nn::UNet unet() const;
  /// "128", or how it is divided: "128 (4 processes x 2 rounds x 16 images)".
  std::string batch_description() const;

 private:
  std::unique_ptr<TrainingRun> run_;
};

}  // namespace ddpm::train
