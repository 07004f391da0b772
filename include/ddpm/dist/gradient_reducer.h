#pragma once

#include "ddpm/dist/world.h"

#include <functional>
#include <memory>
#include <vector>

#include <torch/types.h>

namespace ddpm::dist {

class OverlappedSum;

/// Sums the gradients of a network over all ranks while its backward pass still runs: a bucket of
/// them travels as soon as all of its gradients are there (c10d::Reducer, the engine of PyTorch's
/// DistributedDataParallel). Buckets are the same in every step, so that a resumed run adds in the
/// same order as one that was never interrupted.
class GradientReducer {
 public:
  /// Every parameter must take part in every backward pass; all ranks give the same ones. `world`
  /// must outlive it.
  GradientReducer(const World& world, const std::vector<torch::Tensor>& parameters,
                  int64_t bucket_bytes = int64_t{25} << 20);
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  /// Runs `pass`, a forward pass with its backward pass. When it returns, every parameter's
  /// gradient is the sum over the ranks of what each had accumulated up to then: earlier passes of
  /// the step run outside. The same bits on every rank. Collective. Throws Error where a rank dies
  /// or does not come.
  void sum_during(const std::function<void()>& pass);

 private:
  const World& world_;
  std::vector<torch::Tensor> parameters_;
  std::unique_ptr<OverlappedSum> sum_;  // nullptr: a single process, or no overlap on this device
};

}  // namespace ddpm::dist
