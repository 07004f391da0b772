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
  uint64_t checkpoint_bytes = 0;  ///< tensors of one checkpoint
  int64_t timed_steps = 0;
  double first_step_s = 0.0;  ///< with everything that is set up once
  double step_s = 0.0;        ///< median of the timed steps
  double slowest_step_s = 0.0;
  double batch_s = 0.0;     ///< to read and decode one batch, nothing cached, by all workers
  double forward_s = 0.0;   ///< one network call on a batch of sample images
  double memory_mib = 0.0;  ///< peak_memory_mib after the steps
  double loss = 0.0;        ///< of the steps: about 1 for eps before training
  int64_t micro_batch = 0;  ///< images at a time
};

/// Sets the weights with which training would begin.
using Preparation = std::function<void(Learner&)>;

/// Builds the network, reads batches, and takes `steps` training steps after one to warm up (fewer
/// if they would take longer than `budget_s`). Writes nothing. Throws what training would throw.
DryRunReport dry_run(const Experiment& experiment, const data::Dataset& dataset,
                     const torch::Device& device, const Preparation& prepare = {},
                     int64_t steps = 10, double budget_s = 20.0);

/// Seconds of the training steps from `step` to the end, sample grids included.
double predicted_seconds(const DryRunReport& report, const Experiment& experiment, int64_t step);

}  // namespace ddpm::train
