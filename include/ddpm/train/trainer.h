#pragma once

#include "ddpm/config/document.h"
#include "ddpm/data/batch_source.h"
#include "ddpm/data/subset.h"
#include "ddpm/dist/world.h"
#include "ddpm/train/checkpoint.h"
#include "ddpm/train/experiment.h"
#include "ddpm/train/holdout.h"
#include "ddpm/train/learner.h"
#include "ddpm/train/metrics.h"
#include "ddpm/train/run_lock.h"
#include "ddpm/train/stop_signal.h"

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

namespace ddpm::train {

/// Which checkpoint a run begins from.
struct ResumePolicy {
  enum class Kind {
    kAuto,   ///< the newest valid one of the run, if any
    kNever,  ///< none; the run's folder must hold no checkpoint
    kFrom,   ///< the one at `path`; a damaged one is an error
  };
  Kind kind = Kind::kAuto;
  std::filesystem::path path;
};

enum class TrainOutcome {
  kFinished,  ///< all train.steps are done
  kStopped,   ///< a signal asked to stop; a checkpoint was saved
};

/// Where the time since the last metrics went.
struct Interval {
  using Clock = std::chrono::steady_clock;
  Clock::time_point begin = Clock::now();
  int64_t first_step = 0;
  double data_wait_s = 0.0;  ///< waiting for the loader
  double aside_s = 0.0;      ///< saving and drawing samples: not counted as training
};

/// One training run in one folder (Algorithm 1, Ho 2020). It makes the folder, holds its lock,
/// resumes, trains, and leaves checkpoints, metrics and pictures. In a world of several ranks each
/// has a Trainer; rank 0 alone touches the folder, and all take every decision alike.
class Trainer {
 public:
  /// `document` is where `experiment` was read from; `run` is the run's folder. Allocates the
  /// network and restores the checkpoint. `world` must outlive it. Throws IoError, ConfigError or
  /// UsageError.
  Trainer(Experiment experiment, config::Document& document, data::Split data,
          const torch::Device& device, const std::filesystem::path& run, const ResumePolicy& resume,
          const dist::World& world = dist::single_process());

  /// Trains up to train.steps or until a signal asks to stop, and saves.
  TrainOutcome run();

  int64_t step() const { return state_.step; }
  nn::UNet unet() const { return learner_.unet(); }

 private:
  /// What signals asked for, of any rank.
  struct Requests {
    int64_t stop_signal = 0;  ///< its number; 0: none
    bool save = false;
  };

  void resume(const ResumePolicy& policy);
  void share_state();
  Requests ask();
  void check_same_run(const std::filesystem::path& checkpoint) const;
  void train_one_step();
  void log_metrics(bool with_holdout);
  void save();
  bool try_to_save();
  void save_before_failing();
  void draw_samples();
  void draw_grid(const std::string& name);

  Experiment experiment_;
  data::Split data_;
  torch::Device device_;
  std::filesystem::path run_;
  std::string model_toml_, config_toml_;

  const dist::World& world_;
  std::unique_ptr<RunLock> lock_;  // this, holdout_ and log_ on rank 0 only
  CheckpointStore store_;
  Learner learner_;
  std::unique_ptr<data::BatchSource> loader_;
  std::unique_ptr<Holdout> holdout_;
  std::unique_ptr<MetricsLog> log_;
  StopSignal signal_;

  TrainingState state_;
  int64_t first_step_ = 0;    // of this session
  int64_t saved_step_ = -1;   // newest published checkpoint of this session
  int64_t failed_saves_ = 0;  // in a row
  std::string last_loss_;     // for the progress line
  Interval interval_;
};

}  // namespace ddpm::train
