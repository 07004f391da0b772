#pragma once

#include "ddpm/dist/world.h"

#include <functional>
#include <memory>
#include <vector>

#include <torch/types.h>

namespace ddpm::dist {

class OverlappedSum;

/// A bucket of gradients is full with so many bytes. The first one is small, so that its reduction
/// starts early.
inline constexpr int64_t kFirstBucketBytes = int64_t{1} << 20;
inline constexpr int64_t kBucketBytes = int64_t{25} << 20;

/// Sums the gradients of a network over all ranks during its backward pass: a bucket is reduced as
/// soon as all its gradients are ready (c10d::Reducer, the engine of PyTorch's
/// DistributedDataParallel). Buckets are the same in every step, so that a resumed run sums in the
/// same order as an uninterrupted one.
class GradientReducer {
 public:
  /// Every parameter must take part in every backward pass; all ranks pass the same ones. `world`
  /// must outlive this object.
  GradientReducer(const World& world, const std::vector<torch::Tensor>& parameters,
                  int64_t bucket_bytes = kBucketBytes);
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  /// Runs `pass`, a forward and a backward pass. Afterwards every parameter's gradient is the sum
  /// over the ranks of what each has accumulated, including earlier passes of the step, which run
  /// outside. Same bits on every rank. Collective. Throws Error if a rank dies or does not take
  /// part.
  void sum_during(const std::function<void()>& pass);
  /// Call it after World::regroup_.
  void rebuild_();

 private:
  const World& world_;
  std::vector<torch::Tensor> parameters_;
  int64_t bucket_bytes_;
  std::unique_ptr<OverlappedSum> sum_;  // nullptr: a single process, or no overlap on this device
};

}  // namespace ddpm::dist
