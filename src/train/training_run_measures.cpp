#include "ddpm/base/clock.h"
#include "ddpm/base/text.h"
#include "ddpm/checkpoint/averages.h"
#include "training_run.h"

#include <spdlog/spdlog.h>

// What a run measures and writes between its steps, besides checkpoints and metrics.

namespace ddpm::train {

namespace fs = std::filesystem;

// Writes a snapshot of the power-function averages. A failure costs this snapshot alone.
void TrainingRun::store_averages() {
  const auto begin = Clock::now();
  const auto averages = learner_.stored_power_averages();
  if (world_.is_main()) {
    try {
      checkpoint::write_snapshot(snapshots_, *learner_.unet(),
                                 {state_.step, experiment_.ema.power_lengths, averages});
    } catch (const IoError& error) {
      reporter_.clear_progress();
      spdlog::error(
          "step {}: the EMA snapshot could not be written: {} (training continues; "
          "--ema-length is less exact without it)",
          state_.step, error.what());
    }
  }
  reporter_.aside(seconds_since(begin));
}

// Saves, and measures samples of that checkpoint. Returns whether training is to continue.
bool TrainingRun::measure_quality() {
  const auto begin = Clock::now();
  save();
  finish_save();
  if (saver_.saved_step() != state_.step) return true;  // the failed save has its own message
  reporter_.clear_progress();
  const fs::path checkpoint = saver_.store().folder_of(state_.step);
  const Quality quality = measure_(checkpoint);
  if (world_.is_main()) {
    const bool best = quality_->add(state_.step, quality, checkpoint);
    spdlog::info("step {}: Frechet distance {:.4g} +- {:.2g}{}, {}", state_.step, quality.frechet,
                 quality.error, best ? " (the best so far: best/)" : "",
                 format_duration(seconds_since(begin)));
    if (!quality.fault.empty())
      spdlog::warn(
          "step {}: samples are {}; if that lasts, lower optimizer.lr, or sample with "
          "another --weights",
          state_.step, quality.fault);
  }
  reporter_.aside(seconds_since(begin));
  return !out_of_patience();
}

// Whether too many measurements in a row were no better than the best. Collective.
bool TrainingRun::out_of_patience() const {
  const int64_t patience = experiment_.train.eval_patience;
  if (!measure_ || experiment_.train.eval_every == 0 || patience == 0) return false;
  const int64_t since = world_.from_main({quality_ ? quality_->since_best() : 0}).front();
  if (since < patience) return false;
  spdlog::info("stopping: no better samples in {} (train.eval_patience); the best are of best/",
               counted(since, "measurement"));
  return true;
}

// On rank 0. A report that cannot be made must not end the training.
void TrainingRun::write_report() {
  if (!report_ || !world_.is_main()) return;
  const auto begin = Clock::now();
  reporter_.note_progress("report");
  try {
    report_();
    reporter_.clear_progress();
    spdlog::debug("step {}: report in {}", state_.step, format_duration(seconds_since(begin)));
  } catch (const std::exception& error) {
    spdlog::warn("no report: {} (training continues without it)", error.what());
  }
  reporter_.aside(seconds_since(begin));
}

}  // namespace ddpm::train
