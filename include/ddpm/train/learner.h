#pragma once

#include "ddpm/base/device_graph.h"
#include "ddpm/checkpoint/content.h"
#include "ddpm/data/loader.h"
#include "ddpm/dist/gradient_reducer.h"
#include "ddpm/dist/world.h"
#include "ddpm/nn/ema.h"
#include "ddpm/nn/unet.h"
#include "ddpm/train/experiment.h"
#include "ddpm/train/loss_uncertainty.h"
#include "ddpm/train/metrics.h"
#include "ddpm/train/optimizer.h"
#include "ddpm/train/timestep_history.h"
#include "ddpm/train/train_step.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace ddpm::train {

/// A network in training: weights, EMA weights, optimizer, and the training step. It does not
/// access files. Each rank has the full network. Every rank takes the same steps with its share of
/// the batch, and the networks stay bitwise equal. EMA weights and moments are also on every rank,
/// or, with train.shard_optimizer, divided among the ranks. While a Learner exists, train.precision
/// and train.deterministic apply to the whole process.
class Learner {
 public:
  /// Allocates and initialises everything on `device`. `world` must outlive it.
  Learner(const Experiment& experiment, const torch::Device& device,
          const dist::World& world = dist::single_process());

  /// Broadcasts rank 0's weights and sets all EMA weights to them. For a run that begins at step 0.
  /// Collective.
  void begin_();

  /// Update `step` (1, 2, ...) with this rank's share of the batch (Algorithm 1, lines 2 to 5).
  /// Sums gradients over micro-batches and ranks, then updates parameters and EMA weights. If a
  /// rank is lost before all sums are complete, RankLost is thrown and nothing is updated. The
  /// result depends only on weights, batch, seed and step, and, with dropout, on the rank. No host
  /// sync. On a GPU, a single process captures the whole step as a CUDA graph after a few steps
  /// and replays it (train.cuda_graph). Results are the same. Collective.
  void step_(const data::Batch& batch, int64_t step);

  /// After World::regroup_: divides the batch among the ranks that are left, in micro-batches no
  /// larger than before, and gives all of them the state of rank `from`. `behind`: that rank has
  /// completed a step that this one has not. Throws RankLost; the state is then unchanged. Not with
  /// divided optimizer state. Collective.
  void regroup_(int64_t from, bool behind);

  /// Computes gradients of zero images for this rank's share of a batch, then for smaller parts of
  /// it, until one fits into the device's memory. All ranks use the smallest size. Returns the
  /// images per micro-batch; results do not depend on it. Throws Error if one image does not fit.
  /// Collective.
  int64_t fit_micro_batch_();

  /// Copies of a checkpoint's tensors in host memory, on rank 0; empty on the others. Collective.
  checkpoint::TrainingTensors snapshot() const;
  /// Sets the state of all ranks from rank 0's argument; other ranks' arguments are ignored.
  /// Collective.
  void restore_(const checkpoint::TrainingTensors& tensors);
  /// Tensors in host memory to read a checkpoint into, for restore_.
  checkpoint::TrainingTensors empty_tensors() const;

  nn::UNet unet() const { return unet_; }
  int64_t rounds() const { return rounds_; }  ///< micro-batches per step of this rank
  int64_t average_count() const { return static_cast<int64_t>(averages_.size()); }
  /// The i-th EMA weights, one tensor per parameter, on rank 0; empty on other ranks. Collective.
  std::vector<torch::Tensor> average(int64_t i) const;
  /// The power-function averages as a snapshot stores them (checkpoint::stored_tensor), on rank 0;
  /// lists without tensors on other ranks. Collective.
  std::vector<std::vector<torch::Tensor>> stored_power_averages() const;
  const StepSettings& settings() const { return settings_; }
  /// Captures steps with `recorder` instead of the device's recorder. For tests.
  void record_by_(std::unique_ptr<GraphRecorder> recorder);
  /// Whether the next step of the same shape replays the graph.
  bool recorded() const { return graph_.recorded(); }

  /// The metrics of this rank's steps since the last read.
  MetricsAccumulator& metrics() { return metrics_; }
  /// The same of all ranks. Resets them.
  MetricsReading read_metrics() { return metrics_.read(summing_world()); }
  /// The loss by log SNR of all ranks since the last read; empty if train.loss_bins is 0.
  /// Collective.
  std::vector<LossBin> read_loss_bins();
  /// The gradient noise scale of the measurements so far (train.noise_scale_every).
  std::optional<NoiseScaleReading> noise_scale() const;

 private:
  /// The last step's losses, summed over the ranks, and its update.
  struct StepSums {
    MetricsAccumulator metrics;
    std::optional<LossBins> bins;
    UpdateInfo update;
  };
  static StepSums new_step_sums(const Experiment& experiment, const diffusion::Schedule& schedule,
                                const torch::Device& device);

  const dist::World& summing_world() const { return step_sums_ ? dist::single_process() : world_; }
  int64_t smallest_share() const { return train_.batch_size / world_.size(); }
  int64_t rounds_of(int64_t share) const;
  void load_(const data::Batch& batch);
  void seed_dropout_(int64_t step);
  std::optional<GradientNorms> measured_noise_(int64_t step);
  void set_step_(int64_t step);
  void update_();
  StepLosses accumulate_();
  StepLosses sum_over_ranks_(const std::vector<StepLosses>& rounds);
  StepLosses gathered(const std::vector<StepLosses>& rounds) const;
  void apply_(const StepLosses& whole);
  std::vector<io::NamedTensor> extras() const;
  std::vector<torch::Tensor> state() const;

  const dist::World& world_;
  TrainConfig train_;
  nn::ArithmeticGuard arithmetic_;
  OptimizerConfig optimizer_config_;
  int64_t micro_batch_;  // images, at most
  int64_t rounds_;
  StepSettings settings_;
  nn::UNet unet_;
  std::vector<torch::Tensor> parameters_;
  Shards shards_;
  std::vector<torch::Tensor> own_;            // of parameters_, those whose state this rank keeps
  std::vector<nn::Ema> averages_;             // of own_
  std::vector<nn::Ema> power_averages_;       // of own_
  Optimizer optimizer_;                       // of own_
  std::shared_ptr<TimestepHistory> history_;  // of train.t_sampling = "loss_second_moment"
  std::shared_ptr<LossUncertainty> uncertainty_;  // of train.loss_weight = "learned"
  std::optional<Optimizer> uncertainty_optimizer_;
  dist::GradientReducer reducer_;
  MetricsAccumulator metrics_;
  std::optional<LossBins> bins_;
  std::optional<NoiseScale> noise_scale_;
  std::optional<StepSums> step_sums_;  // if a lost rank's losses are to stay in the metrics
  data::Batch batch_;                  // on the device: the tensors that update_ reads
  DeviceGraph graph_;                  // of update_
};

}  // namespace ddpm::train
