#pragma once

#include "ddpm/data/loader.h"
#include "ddpm/nn/ema.h"
#include "ddpm/nn/unet.h"
#include "ddpm/train/checkpoint.h"
#include "ddpm/train/experiment.h"
#include "ddpm/train/metrics.h"
#include "ddpm/train/optimizer.h"
#include "ddpm/train/train_step.h"

#include <cstdint>
#include <vector>

namespace ddpm::train {

/// A network in training: weights, averages and optimizer in memory, and the step that changes
/// them. It knows nothing of files.
class Learner {
 public:
  /// Allocates and initialises everything on `device`.
  Learner(const Experiment& experiment, const torch::Device& device);

  /// Update `step` (1, 2, ...) from its whole batch (Algorithm 1, lines 2 to 5): in micro-batches,
  /// then optimizer and averages. A function of weights, batch and (seed, step). No host sync.
  void step_(const data::Batch& batch, int64_t step);

  nn::UNet unet() const { return unet_; }
  std::vector<nn::Ema>& averages() { return averages_; }
  const StepSettings& settings() const { return settings_; }
  /// What the steps found since it was last read.
  MetricsAccumulator& metrics() { return metrics_; }
  /// What a checkpoint saves and restores.
  TrainingObjects objects() { return {*unet_, averages_, optimizer_}; }

 private:
  TrainConfig train_;
  OptimizerConfig optimizer_config_;
  StepSettings settings_;
  nn::UNet unet_;
  std::vector<nn::Ema> averages_;
  Optimizer optimizer_;
  MetricsAccumulator metrics_;
};

}  // namespace ddpm::train
