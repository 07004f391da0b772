#include "ddpm/dist/gradient_reducer.h"
#include "ddpm/train/dry_run.h"

#include <algorithm>
#include <cmath>

namespace ddpm::train {

StepCost cost_of_step(const Cluster& cluster, const StepWork& work) {
  constexpr double kBackward = 2.0 / 3.0;  // of a step's arithmetic
  StepCost cost;
  cost.step_s = work.compute_s;
  if (cluster.ranks == 1) return cost;
  const auto ranks = static_cast<double>(cluster.ranks);
  const auto buckets = static_cast<double>(work.buckets);
  const double once =
      (ranks - 1) / ranks * static_cast<double>(work.gradient_bytes) / cluster.bandwidth();
  const double hidden_by = kBackward * work.compute_s / static_cast<double>(work.accumulate);
  const double gradients = 2 * once + buckets * 2 * std::log2(ranks) * cluster.latency;
  const double weights = work.sharded ? once + std::log2(ranks) * cluster.latency : 0.0;
  cost.messages_s = gradients + weights;
  cost.exposed_s = std::max(gradients / buckets, gradients - hidden_by) + weights;
  cost.step_s += cost.exposed_s;
  cost.efficiency = work.compute_s / cost.step_s;
  return cost;
}

int64_t count_buckets(const std::vector<torch::Tensor>& parameters) {
  int64_t full = 0, bytes = 0;
  for (auto p = parameters.rbegin(); p != parameters.rend(); ++p) {
    bytes += static_cast<int64_t>(p->nbytes());
    if (bytes < (full == 0 ? dist::kFirstBucketBytes : dist::kBucketBytes)) continue;
    ++full;
    bytes = 0;
  }
  return full + (bytes > 0 ? 1 : 0);
}

uint64_t saved_by_sharding(uint64_t weight_bytes, int64_t averages, int64_t ranks) {
  const auto divided = weight_bytes * static_cast<uint64_t>(2 + averages);
  return divided - divided / static_cast<uint64_t>(ranks);
}

}  // namespace ddpm::train
