#pragma once

#include "ddpm/dist/world.h"
#include "ddpm/io/tensorboard.h"
#include "ddpm/train/loss_bins.h"
#include "ddpm/train/noise_scale.h"
#include "ddpm/train/optimizer.h"
#include "ddpm/train/train_step.h"

#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::train {

/// Averages over the steps since the last reading.
struct MetricsReading {
  /// Mean L_simple over the samples of finite steps, each with its weight 1 / (T p_t), so that it
  /// is the mean over uniform t.
  double loss = 0.0;
  std::array<double, 4>
      loss_by_quartile{};        ///< of samples with t in each quarter of 1..T; NaN if none
  double grad_norm = 0.0;        ///< mean over the finite steps
  int64_t skipped = 0;           ///< steps without an update, because of a non-finite gradient
  int64_t skipped_in_a_row = 0;  ///< the current number of such steps in a row
};

/// Sums the metrics of steps in small tensors on the device, so that a step needs no host sync.
class MetricsAccumulator {
 public:
  MetricsAccumulator(const torch::Device& device, int64_t timesteps);
  void add_losses(const StepLosses& losses);
  void add_update(const UpdateInfo& update);
  /// Adds the losses of another one.
  void add(const MetricsAccumulator& other) { loss_ += other.loss_; }
  /// Waits for the device, reads and resets. The losses cover the samples of all ranks; the
  /// metrics of updates are equal on all ranks.
  MetricsReading read(const dist::World& world = dist::single_process());
  /// Like read, but changes nothing. For a checkpoint between two readings.
  MetricsReading peek() const;
  /// Sums of losses and of their weights, by quartile: float64 [2, 4].
  const torch::Tensor& losses() const { return loss_; }
  /// Sets the count of skipped steps in a row, from a checkpoint.
  void set_skipped_in_a_row(int64_t count);

 private:
  int64_t timesteps_;
  torch::Tensor loss_;  // float64 [2, 4]: sums of losses and of weights by quartile
  torch::Tensor norm_;  // float64 [2]: sum and count
  torch::Tensor bad_;   // float64 [2]: skipped since the last reading; skipped in a row
};

/// One line of metrics.jsonl.
struct MetricsLine {
  int64_t step = 0;
  int64_t images = 0;  ///< trained on since step 0
  MetricsReading reading;
  double lr = 0.0;
  double images_per_s = 0.0;
  double data_wait = 0.0;   ///< share of the time spent waiting for data, 0..1
  double memory_mib = 0.0;  ///< peak_memory_mib
  double mfu = 0.0;         ///< share of the GPUs' peak rate, 0..1; 0 if that is not known
  double seconds = 0.0;     ///< of training, over all sessions of the run
  double eta_s = 0.0;       ///< to train.steps at this rate
  std::optional<double> holdout_loss, holdout_loss_ema;  ///< with the raw and the EMA weights
  std::vector<LossBin> bins, holdout_bins;               ///< the latter with the EMA weights
  std::optional<NoiseScaleReading> noise;
};

/// Writes RUN/metrics.jsonl and RUN/tb.
class MetricsLog {
 public:
  /// Opens the run's files and removes content after `step`, which a resumed run writes again.
  MetricsLog(const std::filesystem::path& run, int64_t step);
  void write(const MetricsLine& line);
  /// The step of the newest line; 0 without lines.
  int64_t last_step() const { return last_step_; }
  void image(const std::string& tag, int64_t step, const torch::Tensor& chw_u8);

 private:
  std::filesystem::path jsonl_;
  std::unique_ptr<io::EventWriter> events_;
  int64_t last_step_ = 0;
};

/// Peak memory of training so far, in MiB. On CUDA: memory allocated by the caching allocator. On
/// the CPU: resident memory of the process. 0 if the system does not report it.
double peak_memory_mib(const torch::Device& device);

}  // namespace ddpm::train
