#pragma once

#include "ddpm/checkpoint/run_lock.h"
#include "ddpm/train/trainer.h"
#include "quality_log.h"
#include "reporter.h"
#include "saver.h"

#include <chrono>
#include <exception>
#include <string>
#include <vector>

namespace ddpm::train {

/// The implementation of a Trainer: the loop, and the decisions that all ranks must make together.
/// The Saver writes checkpoints, the Reporter reports progress, and resume.h chooses the start.
class TrainingRun {
 public:
  TrainingRun(Experiment experiment, config::Document& document, data::Split data,
              const torch::Device& device, const std::filesystem::path& run,
              const ResumePolicy& resume, const StopConditions& stop, const dist::World& world);

  void measure_with_(MeasureQuality measure) { measure_ = std::move(measure); }
  void report_with_(ReportRun report) { report_ = std::move(report); }
  void shrink_with_(dist::World& world, BecomeMain become_main) {
    shrinking_world_ = &world;
    become_main_ = std::move(become_main);
  }
  TrainOutcome run();
  int64_t step() const { return state_.step; }
  nn::UNet unet() const { return learner_.unet(); }
  std::string batch_description() const;

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr const char* kHowItStops = "stopping after this step, then saving";

  /// The state of all ranks before a step.
  struct Agreement {
    bool data_failed = false;
    int64_t stop_signal = 0;  ///< signal number; 0: none
    bool save = false;        ///< requested by a signal
    bool out_of_time = false;
  };

  std::filesystem::path starting_point(const ResumePolicy& policy);
  data::Split in_class_order(data::Split data) const;
  void begin(const ResumePolicy& policy);
  void resume(const RunIdentity& identity, checkpoint::TrainingTensors& tensors);
  void share_state(const checkpoint::TrainingTensors& tensors);
  TrainOutcome train();
  bool after_step(bool measure);
  std::exception_ptr next_batch(data::Batch& batch);
  Agreement agree(bool data_failed);
  void take_step(const data::Batch& batch);
  [[noreturn]] void fail_after_saving(const std::exception_ptr& failure);
  TrainOutcome stop(const Agreement& agreed);
  TrainOutcome finish();
  void save();
  void finish_save();
  void store_averages();
  bool measure_quality();
  void write_report();
  bool out_of_patience() const;

  // training_run_losses.cpp
  TrainOutcome go_on();
  void regroup();
  void become_main();
  void lock_folder();
  void finish_for_former_main();
  void report_losses();
  TrainOutcome stop_with_too_few();
  TrainOutcome stop_alone(const std::string& why);

  Experiment experiment_;
  torch::Device device_;
  std::filesystem::path run_;
  const dist::World& world_;
  StopSignal& signal_;
  Deadline deadline_;
  std::unique_ptr<checkpoint::RunLock> lock_;  // on rank 0
  Saver saver_;
  checkpoint::CheckpointStore snapshots_;  // RUN/ema_snapshots
  std::filesystem::path checkpoint_;       // from which the run begins, on rank 0; empty: step 0
  data::Split data_;
  std::string model_toml_, config_toml_;
  Learner learner_;
  std::unique_ptr<data::BatchSource> loader_;
  Reporter reporter_;
  MeasureQuality measure_;
  ReportRun report_;
  std::unique_ptr<QualityLog> quality_;  // on rank 0
  checkpoint::TrainingState state_;
  int64_t first_step_ = 0;  // of this session
  double seconds_before_ = 0.0;
  Clock::time_point begin_ = Clock::now();
  int64_t finished_step_ = 0;  // the last with all that follows it
  int64_t stop_signal_ = 0;    // that all ranks have agreed on; 0: none

  dist::World* shrinking_world_ = nullptr;  // world_, if losses are survived
  BecomeMain become_main_;
  bool is_writing_ = false;        // this rank has the run's folder
  bool interrupted_ = false;       // by a loss, and not yet in order again
  std::vector<std::string> lost_;  // and not yet reported
};

}  // namespace ddpm::train
