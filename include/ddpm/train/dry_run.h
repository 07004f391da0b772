#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/train/experiment.h"
#include "ddpm/train/learner.h"

#include <cstdint>
#include <functional>

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

}  // namespace ddpm::train
