#pragma once

#include "ddpm/base/host.h"
#include "ddpm/base/progress.h"
#include "ddpm/base/signals.h"
#include "ddpm/checkpoint/state.h"
#include "ddpm/data/dataset.h"
#include "ddpm/dist/world.h"
#include "ddpm/train/experiment.h"
#include "ddpm/train/holdout.h"
#include "ddpm/train/learner.h"
#include "ddpm/train/metrics.h"
#include "preview.h"
#include "running_loss.h"

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace ddpm::train {

/// A run's reports during training: metrics, held-out loss, sample grids, the progress line. Every
/// rank has one; only rank 0 writes.
class Reporter {
 public:
  /// All references must outlive it.
  Reporter(const Experiment& experiment, const torch::Device& device,
           const std::filesystem::path& run, const dist::World& world, StopSignal& signal,
           Learner& learner);

  /// Rank 0: opens metrics.jsonl and removes its lines after `step`. `held_out`: nullptr without.
  /// Throws IoError.
  void open(int64_t step, const data::Dataset& training, const data::Dataset* held_out);
  /// On a process that becomes rank 0: opens as open() does, and writes the last line of metrics if
  /// the former rank 0 did not. All lines up to `step` stay. Throws IoError.
  void take_over(int64_t step, const data::Dataset& training, const data::Dataset* held_out);
  /// Whether the former rank 0 wrote this step's sample grids.
  bool has_samples(int64_t step) const;
  /// Call when training begins or resumes at `step`.
  void begin(int64_t step);

  /// Adds seconds spent waiting for data, or (`aside`) on work that does not count as training
  /// (copies for a save, sampling).
  void waited(double seconds) { interval_.data_wait_s += seconds; }
  void aside(double seconds) { interval_.aside_s += seconds; }
  bool has_news(int64_t step) const { return step > interval_.first_step; }

  /// Writes the metrics up to state.step and adds skipped steps to `state`. Throws Error after
  /// train.max_bad_steps updates in a row with a gradient that is not finite.
  void log_metrics(checkpoint::TrainingState& state, bool with_holdout);
  /// Writes a sample grid for each set of weights.
  void draw_samples(int64_t step);

  void show_progress(int64_t step);
  void note_progress(const std::string& what);
  void clear_progress();

  double loss() const { return shown_loss_; }
  /// The last held-out loss of the EMA weights.
  std::optional<double> holdout_loss() const { return holdout_loss_; }
  /// A warning if EMA weights are still mostly the initial weights; "" otherwise.
  std::string young_averages(int64_t step) const;

 private:
  /// The time since the last line of metrics.
  struct Interval {
    using Clock = std::chrono::steady_clock;
    Clock::time_point begin = Clock::now();
    int64_t first_step = 0;
    double data_wait_s = 0.0;  // waiting for the loader
    double aside_s = 0.0;      // not training
  };

  bool holdout_is_due(int64_t step) const;
  std::filesystem::path picture(int64_t step, const std::string& weights) const;
  void measure_holdout(MetricsLine& line);
  void advise_on_batch(const MetricsLine& line);
  void advise_on_threads();
  double mfu_of(double images_per_s) const;
  void say_mfu(const MetricsLine& line);

  const Experiment& experiment_;
  torch::Device device_;
  std::filesystem::path run_;
  const dist::World& world_;
  StopSignal& signal_;
  Learner& learner_;
  Preview preview_;
  std::unique_ptr<Holdout> holdout_;  // holdout_, log_ and progress_ exist only on rank 0
  std::unique_ptr<MetricsLog> log_;
  std::unique_ptr<Progress> progress_;

  Interval interval_;
  std::optional<MetricsLine> last_line_;
  RunningLoss running_loss_;  // this and the next three are for the progress line
  double shown_loss_ = 0.0;
  double shown_rate_ = 0.0;  // images/s
  Interval::Clock::time_point loss_read_{};
  std::optional<double> holdout_loss_;
  double image_flops_ = 0.0;      // of a training step, per image
  double peak_flops_ = 0.0;       // of this rank's device; 0: not known
  int64_t lines_ = 0;             // of metrics in this session
  int64_t advised_ = 0;           // step of the last line about the noise scale
  std::optional<CoreUse> cores_;  // until there is something to say about it
};

}  // namespace ddpm::train
