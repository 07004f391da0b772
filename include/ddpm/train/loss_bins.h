#pragma once

#include "ddpm/diffusion/schedule.h"
#include "ddpm/dist/world.h"
#include "ddpm/train/train_step.h"

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace ddpm::train {

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

}  // namespace ddpm::train
