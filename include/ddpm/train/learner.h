#pragma once

#include "ddpm/data/loader.h"
#include "ddpm/dist/world.h"
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
/// them. It knows nothing of files. In a world of several ranks each has a copy of it all; every
/// rank takes the same steps, each with its share of the batch, and the copies stay equal bit for
/// bit.
class Learner {
 public:
  /// Allocates and initialises everything on `device`. `world` must outlive it.
  Learner(const Experiment& experiment, const torch::Device& device,
          const dist::World& world = dist::single_process());

  /// Gives every rank rank 0's weights, averages and optimizer state: at the start and after a
  /// load.
  void broadcast_();

  /// Update `step` (1, 2, ...) from this rank's share of its batch (Algorithm 1, lines 2 to 5): in
  /// micro-batches; then, with the gradient of the whole batch, optimizer and averages. A function
  /// of weights, batch and (seed, step), but for dropout, which differs between ranks. No host
  /// sync.
  void step_(const data::Batch& batch, int64_t step);

  nn::UNet unet() const { return unet_; }
  std::vector<nn::Ema>& averages() { return averages_; }
  const StepSettings& settings() const { return settings_; }
  /// What the steps of this rank found since it was last read.
  MetricsAccumulator& metrics() { return metrics_; }
  /// The same of all ranks; reads and resets.
  MetricsReading read_metrics() { return metrics_.read(world_); }
  /// What a checkpoint saves and restores.
  TrainingObjects objects() { return {*unet_, averages_, optimizer_}; }

 private:
  void sum_gradients_();

  const dist::World& world_;
  TrainConfig train_;
  OptimizerConfig optimizer_config_;
  StepSettings settings_;
  nn::UNet unet_;
  std::vector<nn::Ema> averages_;
  Optimizer optimizer_;
  MetricsAccumulator metrics_;
};

}  // namespace ddpm::train
