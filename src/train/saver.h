#pragma once

#include "ddpm/checkpoint/content.h"
#include "ddpm/checkpoint/store.h"
#include "ddpm/train/deadline.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

namespace ddpm::train {

/// Writes a run's checkpoints, one at a time, while training continues, and logs each outcome.
class Saver {
 public:
  /// Calls `before_line` before it logs a line. Records the time of each save in `deadline`.
  Saver(const std::filesystem::path& directory, const checkpoint::RetentionPolicy& policy,
        bool background, Deadline& deadline, std::function<void()> before_line);

  checkpoint::CheckpointStore& store() { return store_; }

  /// Handles the outcome of a finished save, if any.
  void poll() { collect(writer_.poll()); }
  /// Waits for the current save, if any.
  void wait() { collect(writer_.wait()); }
  /// On a process that becomes rank 0: removes what the former one was writing, and continues after
  /// the newest checkpoint that is intact.
  void take_over();
  /// Marks `step` as passed to the writer. False if it or a later one already was.
  bool begin(int64_t step);
  /// Writes a checkpoint, in the background if configured. No save may be in progress.
  void start(checkpoint::CheckpointContent content);

  /// Records the seconds of a training step, to compare steps during a save with the others.
  void saw_step(double seconds) {
    (writer_.busy() ? times_.saving : times_.otherwise).add(seconds);
  }

  int64_t saved_step() const { return saved_step_; }  ///< the newest of this session; -1: none
  int64_t failures() const { return failures_; }      ///< failed saves in a row
  /// Sets the values that all ranks have agreed on.
  void agree(int64_t saved_step, int64_t failures) {
    saved_step_ = saved_step;
    failures_ = failures;
  }

 private:
  /// Step times since the last save ended: during a save, and without one.
  struct StepTimes {
    struct Mean {
      double seconds = 0.0;
      int64_t steps = 0;
      void add(double s) { seconds += s, ++steps; }
      double value() const { return seconds / static_cast<double>(std::max<int64_t>(steps, 1)); }
    };
    Mean saving, otherwise;
  };

  void collect(const std::optional<checkpoint::SaveOutcome>& outcome);

  checkpoint::CheckpointStore store_;
  bool background_;
  Deadline& deadline_;
  std::function<void()> before_line_;
  int64_t handed_over_ = -1;  // newest step
  int64_t saved_step_ = -1;
  int64_t failures_ = 0;
  StepTimes times_;
  checkpoint::CheckpointWriter writer_;  // last: its thread uses the store
};

}  // namespace ddpm::train
