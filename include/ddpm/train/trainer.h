#pragma once

#include "ddpm/base/signals.h"
#include "ddpm/checkpoint/content.h"
#include "ddpm/checkpoint/run_lock.h"
#include "ddpm/checkpoint/writer.h"
#include "ddpm/config/document.h"
#include "ddpm/data/batch_source.h"
#include "ddpm/data/subset.h"
#include "ddpm/dist/world.h"
#include "ddpm/train/deadline.h"
#include "ddpm/train/experiment.h"
#include "ddpm/train/holdout.h"
#include "ddpm/train/learner.h"
#include "ddpm/train/metrics.h"
#include "ddpm/train/preview.h"
#include "ddpm/train/resume.h"
#include "ddpm/train/running_loss.h"

#include <chrono>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace ddpm {
class Progress;
}

namespace ddpm::train {

/// What ends a run before train.steps, besides errors.
struct StopConditions {
  StopSignal& signal;
  Deadline deadline;
};

enum class TrainOutcome {
  kFinished,  ///< all train.steps are done
  kStopped,   ///< a signal or the deadline; a checkpoint was saved
};

/// Where the time since the last metrics went.
struct Interval {
  using Clock = std::chrono::steady_clock;
  Clock::time_point begin = Clock::now();
  int64_t first_step = 0;
  double data_wait_s = 0.0;  ///< waiting for the loader
  double aside_s = 0.0;      ///< copying for a save, drawing samples: not counted as training
};

/// How long steps took while a checkpoint was written beside them, and otherwise.
struct StepTimes {
  struct Mean {
    double seconds = 0.0;
    int64_t steps = 0;
    void add(double s) { seconds += s, ++steps; }
    double value() const { return seconds / static_cast<double>(std::max<int64_t>(steps, 1)); }
  };
  Mean saving, otherwise;
};

/// One training run in one folder (Algorithm 1, Ho 2020). It makes the folder, holds its lock,
/// resumes, trains, and leaves checkpoints, metrics and pictures. In a world of several ranks each
/// has a Trainer; rank 0 alone touches the folder, and all take every decision alike.
class Trainer {
 public:
  /// `document` is where `experiment` was read from; `run` is the run's folder. Allocates the
  /// network and restores the checkpoint. `stop.signal` and `world` must outlive it. Throws
  /// IoError, ConfigError or UsageError.
  Trainer(Experiment experiment, config::Document& document, data::Split data,
          const torch::Device& device, const std::filesystem::path& run, const ResumePolicy& resume,
          const StopConditions& stop, const dist::World& world = dist::single_process());

  /// Trains up to train.steps or until it is asked to stop, and saves.
  TrainOutcome run();

  int64_t step() const { return state_.step; }
  nn::UNet unet() const { return learner_.unet(); }
  /// "128", or how it is divided: "128 (4 processes x 2 rounds x 16 images)".
  std::string batch_description() const;

 private:
  /// What all ranks know before a step, of any of them.
  struct Agreement {
    bool data_failed = false;
    int64_t stop_signal = 0;  ///< its number; 0: none
    bool save = false;        ///< a signal asked for it
    bool out_of_time = false;
  };

  std::filesystem::path starting_point(const ResumePolicy& policy);
  data::Split in_class_order(data::Split data) const;
  void begin(const ResumePolicy& policy);
  void resume(const RunIdentity& identity, checkpoint::TrainingTensors& tensors);
  void share_state(const checkpoint::TrainingTensors& tensors);
  std::exception_ptr next_batch(data::Batch& batch);
  Agreement agree(bool data_failed);
  void take_step(const data::Batch& batch);
  [[noreturn]] void fail_after_saving(const std::exception_ptr& failure);
  TrainOutcome stop(const Agreement& agreed);
  TrainOutcome finish();
  void log_metrics(bool with_holdout);
  void measure_holdout(MetricsLine& line);
  void draw_samples();
  std::string young_averages() const;
  void save();
  void finish_save();
  void collect(const std::optional<checkpoint::SaveOutcome>& outcome);
  void show_progress();
  void note_progress(const std::string& what);
  void clear_progress();

  Experiment experiment_;
  torch::Device device_;
  std::filesystem::path run_;
  const dist::World& world_;
  StopSignal& signal_;
  Deadline deadline_;
  std::unique_ptr<checkpoint::RunLock> lock_;  // this, holdout_, log_ and progress_ on rank 0 only
  checkpoint::CheckpointStore store_;
  std::filesystem::path checkpoint_;  // that the run begins from; rank 0; empty: at step 0
  data::Split data_;
  std::string model_toml_, config_toml_;
  Learner learner_;
  std::unique_ptr<data::BatchSource> loader_;
  Preview preview_;
  std::unique_ptr<Holdout> holdout_;
  std::unique_ptr<MetricsLog> log_;
  std::unique_ptr<Progress> progress_;

  checkpoint::TrainingState state_;
  int64_t first_step_ = 0;    // of this session
  int64_t saving_step_ = -1;  // newest step handed to writer_
  int64_t saved_step_ = -1;   // newest published checkpoint of this session
  int64_t failed_saves_ = 0;  // in a row
  RunningLoss running_loss_;  // for the progress line, as what follows
  double shown_loss_ = 0.0;
  double shown_rate_ = 0.0;             // images/s
  std::optional<double> holdout_loss_;  // the last, with the averaged weights
  Interval::Clock::time_point loss_read_{};
  Interval interval_;
  StepTimes step_times_;                 // since the last save ended
  checkpoint::CheckpointWriter writer_;  // last: its thread uses the store
};

}  // namespace ddpm::train
