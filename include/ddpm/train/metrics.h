#pragma once

#include "ddpm/data/loader.h"
#include "ddpm/diffusion/schedule.h"
#include "ddpm/dist/world.h"
#include "ddpm/io/tensorboard.h"
#include "ddpm/nn/unet.h"
#include "ddpm/train/optimizer.h"
#include "ddpm/train/train_step.h"

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::train {

// The loss by log SNR.

/// The mean loss of the samples with a log SNR in one range.
struct LossBin {
  double log_snr = 0.0;  ///< middle of the range
  double loss = 0.0;     ///< L_simple; NaN without samples
};

/// Sums losses by the log SNR of their t, in ranges of equal width from that of T to that of 1. On
/// the device; no host sync but in read.
class LossBins {
 public:
  /// A t = T without signal is of the lowest range.
  LossBins(const diffusion::Schedule& schedule, int64_t count, const torch::Device& device);

  void add_(const StepLosses& losses);
  /// Adds the losses of another one with the same bins.
  void add_(const LossBins& other) { sums_ += other.sums_; }
  /// Sums of losses and of their weights, by bin: float64 [2, count].
  const torch::Tensor& sums() const { return sums_; }
  /// The means over all ranks since the last reading, from the lowest log SNR up. Waits for the
  /// device and resets. Collective.
  std::vector<LossBin> read(const dist::World& world = dist::single_process());

 private:
  std::vector<double> middles_;
  torch::Tensor bin_;   // of t = 0..T, int64
  torch::Tensor sums_;  // float64 [2, count]: losses and weights
};

/// Squared norms of gradients of the mean loss: of small batches (their mean), and of the large
/// batch that they make up. Scalars on the device.
struct GradientNorms {
  torch::Tensor small, large;
  int64_t small_size = 0, large_size = 0;  ///< images
};

/// Computes the gradient of each of `parts` equal parts of this rank's share of a batch, at least
/// two over all ranks, and of all of them. The t of the images are drawn independently, also where
/// training pairs or stratifies them: parts would not be samples of one density. Leaves no
/// gradients behind. No host sync. Collective.
GradientNorms gradient_norms(nn::UNetImpl& unet, const StepSettings& settings,
                             const data::Batch& share, int64_t parts,
                             const dist::World& world = dist::single_process());

/// An estimate of the gradient noise scale.
struct NoiseScaleReading {
  double gradient = 0.0;  ///< |G|^2, of the gradient of the expected loss
  double noise = 0.0;     ///< tr(Sigma), the summed variance of one image's gradient
  /// tr(Sigma) / |G|^2, in images. NaN if an estimate is not positive: more measurements help.
  double scale() const;
};

/// The gradient noise scale tr(Sigma) / |G|^2 (McCandlish 2018, Sec. 2.2 and App. A.1): batches far
/// below it learn as much per image as small ones, batches far above it as much per step as huge
/// ones. Both parts are averages over about the last 50 measurements. No host sync but in read.
class NoiseScale {
 public:
  static constexpr double kDecay = 0.98;  ///< of the averages, per measurement

  explicit NoiseScale(const torch::Device& device);
  /// Adds a measurement. One that is not finite is left out.
  void add_(const GradientNorms& norms);
  /// Waits for the device. Empty if there is no measurement.
  std::optional<NoiseScaleReading> read() const;
  /// Averages of |G|^2 and tr(Sigma) and the weight of both, float64 [3], for checkpoints.
  const torch::Tensor& state() const { return averages_; }

 private:
  torch::Tensor averages_;
};

/// One sentence for people: what the reading says about batches of `batch_size` images.
std::string batch_advice(const NoiseScaleReading& reading, int64_t batch_size);

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
