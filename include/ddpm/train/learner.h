#pragma once

#include "ddpm/base/device_graph.h"
#include "ddpm/checkpoint/content.h"
#include "ddpm/data/loader.h"
#include "ddpm/dist/gradient_reducer.h"
#include "ddpm/dist/world.h"
#include "ddpm/nn/ema.h"
#include "ddpm/nn/unet.h"
#include "ddpm/train/experiment.h"
#include "ddpm/train/metrics.h"
#include "ddpm/train/optimizer.h"
#include "ddpm/train/shards.h"
#include "ddpm/train/train_step.h"

#include <cstdint>
#include <vector>

namespace ddpm::train {

/// A network in training: weights, averages and optimizer in memory, and the step that changes
/// them. It knows nothing of files. In a world of several ranks each has the network; every rank
/// takes the same steps, each with its share of the batch, and the networks stay equal bit for bit.
/// Averages and moments are on every rank as well, or, with train.shard_optimizer, divided among
/// them. While it lives, the process computes as train.precision and train.deterministic say.
class Learner {
 public:
  /// Allocates and initialises everything on `device`. `world` must outlive it.
  Learner(const Experiment& experiment, const torch::Device& device,
          const dist::World& world = dist::single_process());

  /// Every rank's weights become rank 0's, and all averages the weights: before the first step,
  /// where nothing is restored. Collective.
  void begin_();

  /// Update `step` (1, 2, ...) from this rank's share of its batch (Algorithm 1, lines 2 to 5): in
  /// micro-batches; then, with the gradient of the whole batch, optimizer and averages. A function
  /// of weights, batch and (seed, step), but for dropout, which differs between ranks. No host
  /// sync. On CUDA a single process records the whole step as a graph after the first few, and
  /// replays it (train.cuda_graph): the same steps. Collective.
  void step_(const data::Batch& batch, int64_t step);

  /// Tries gradients of empty images in this rank's share of a batch, and in smaller and smaller
  /// parts of it, until one fits into the device's memory; all ranks take the smallest. Returns the
  /// images at a time; results do not change with it. Throws Error where not even one fits.
  /// Collective.
  int64_t fit_micro_batch_();

  /// Copies of all that a checkpoint keeps, in host memory: on rank 0, nothing elsewhere.
  /// Collective.
  checkpoint::TrainingTensors snapshot() const;
  /// Takes what rank 0 gives on all ranks; the others' argument is not read. Collective.
  void restore_(const checkpoint::TrainingTensors& tensors);
  /// Space in host memory to read a checkpoint into: what restore_ takes.
  checkpoint::TrainingTensors empty_tensors() const;

  nn::UNet unet() const { return unet_; }
  int64_t rounds() const { return rounds_; }  ///< micro-batches a step
  int64_t average_count() const { return static_cast<int64_t>(averages_.size()); }
  /// The i-th average, one tensor a parameter: on rank 0, nothing elsewhere. Collective.
  std::vector<torch::Tensor> average(int64_t i) const;
  const StepSettings& settings() const { return settings_; }
  /// Steps are recorded by `recorder` instead of the device's own: for tests.
  void record_by_(std::unique_ptr<GraphRecorder> recorder);
  /// Is the next step of the same shape a replay?
  bool recorded() const { return graph_.recorded(); }

  /// What the steps of this rank found since it was last read.
  MetricsAccumulator& metrics() { return metrics_; }
  /// The same of all ranks; reads and resets.
  MetricsReading read_metrics() { return metrics_.read(world_); }

 private:
  void load_(const data::Batch& batch);
  void set_step_(int64_t step);
  void update_();
  void accumulate_();

  const dist::World& world_;
  TrainConfig train_;
  nn::ArithmeticGuard arithmetic_;
  OptimizerConfig optimizer_config_;
  int64_t rounds_;
  StepSettings settings_;
  nn::UNet unet_;
  std::vector<torch::Tensor> parameters_;
  Shards shards_;
  std::vector<torch::Tensor> own_;  // of parameters_, those whose state this rank keeps
  std::vector<nn::Ema> averages_;   // of own_
  Optimizer optimizer_;             // of own_
  dist::GradientReducer reducer_;
  MetricsAccumulator metrics_;
  data::Batch batch_;  // on the device: the tensors that update_ reads
  DeviceGraph graph_;  // of update_
};

}  // namespace ddpm::train
