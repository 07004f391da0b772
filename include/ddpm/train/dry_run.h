#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/train/experiment.h"
#include "ddpm/train/learner.h"

#include <cstdint>
#include <functional>
#include <vector>

#include <torch/types.h>

namespace ddpm::train {

/// The measured cost of some training steps.
struct DryRunReport {
  int64_t parameters = 0;
  int64_t buckets = 1;            ///< messages that the gradient of several processes travels in
  uint64_t checkpoint_bytes = 0;  ///< tensors of one checkpoint
  uint64_t snapshot_bytes = 0;    ///< tensors of one snapshot of the power-function averages
  int64_t timed_steps = 0;
  double first_step_s = 0.0;  ///< including one-time setup
  double step_s = 0.0;        ///< median of the timed steps
  double slowest_step_s = 0.0;
  double batch_s = 0.0;     ///< to read and decode one batch with all workers, uncached
  double forward_s = 0.0;   ///< one network call on a batch of sample images
  double memory_mib = 0.0;  ///< peak_memory_mib after the steps
  double loss = 0.0;        ///< mean over the steps; about 1 for eps before training
  int64_t micro_batch = 0;  ///< images per micro-batch
};

/// Sets the weights that training begins with.
using Preparation = std::function<void(Learner&)>;

/// Builds the network, reads batches, and takes a warm-up step and `steps` training steps (fewer if
/// they take longer than `budget_s`). Writes nothing. Throws the errors of training.
DryRunReport dry_run(const Experiment& experiment, const data::Dataset& dataset,
                     const torch::Device& device, const Preparation& prepare = {},
                     int64_t steps = 10, double budget_s = 20.0);

/// The predicted seconds from `step` to the end of training, including sample grids.
double predicted_seconds(const DryRunReport& report, const Experiment& experiment, int64_t step);

/// A cluster on paper: processes with one GPU each, in machines that a network joins.
struct Cluster {
  int64_t ranks = 1;
  int64_t ranks_per_node = 8;
  double node_bandwidth = 300e9;    ///< of a ring within a machine, bytes/s
  double network_bandwidth = 40e9;  ///< of a ring between machines, bytes/s per process
  double latency = 10e-6;           ///< of one hop, s

  int64_t nodes() const { return (ranks + ranks_per_node - 1) / ranks_per_node; }
  /// Of the ring over all ranks: that of the slowest link.
  double bandwidth() const { return nodes() > 1 ? network_bandwidth : node_bandwidth; }
};

/// What one process does in a step.
struct StepWork {
  double compute_s = 0.0;       ///< without messages
  int64_t accumulate = 1;       ///< rounds; gradients travel in the last one
  uint64_t gradient_bytes = 0;  ///< sent and received once per step
  int64_t buckets = 1;          ///< messages that the gradient travels in
  bool sharded = false;         ///< train.shard_optimizer: the new weights travel as well
};

/// A step on the cluster (docs/scaling.md derives it).
struct StepCost {
  double messages_s = 0.0;
  double exposed_s = 0.0;   ///< messages that no computation hides
  double step_s = 0.0;      ///< computation and exposed messages
  double efficiency = 1.0;  ///< share of the computation
};
StepCost cost_of_step(const Cluster& cluster, const StepWork& work);

/// The number of buckets that dist::GradientReducer divides these parameters into: from the last one
/// on, in buckets of dist::kFirstBucketBytes and dist::kBucketBytes.
int64_t count_buckets(const std::vector<torch::Tensor>& parameters);

/// Bytes that train.shard_optimizer saves in each of `ranks` processes: their share of the moments
/// and of `averages` EMA weights. `weight_bytes`: of the network.
uint64_t saved_by_sharding(uint64_t weight_bytes, int64_t averages, int64_t ranks);

}  // namespace ddpm::train
