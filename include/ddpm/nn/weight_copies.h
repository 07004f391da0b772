#pragma once

#include <unordered_map>
#include <vector>

#include <torch/types.h>

namespace ddpm::nn {

/// Copies of weights in bfloat16, made in one go: autocast would cast each weight in a launch of
/// its own, and its gradient in another one. The copies take part in autograd.
class WeightCopies {
 public:
  WeightCopies() = default;
  /// weights: float32. Each is cast once; see kernels::cast_all_to_bf16.
  explicit WeightCopies(const std::vector<torch::Tensor>& weights);

  /// The copy of a weight, or the weight itself if there is none.
  const torch::Tensor& of(const torch::Tensor& weight) const;

 private:
  std::unordered_map<const c10::TensorImpl*, torch::Tensor> copies_;
};

/// While it lives, used() on this thread gives the copies.
class WeightCopiesGuard {
 public:
  explicit WeightCopiesGuard(const WeightCopies& copies);
  ~WeightCopiesGuard();
  WeightCopiesGuard(const WeightCopiesGuard&) = delete;
  WeightCopiesGuard& operator=(const WeightCopiesGuard&) = delete;

  static bool active();

 private:
  const WeightCopies* before_;
};

/// The weight as a module is to use it: a copy of the guard's, or the weight itself.
const torch::Tensor& used(const torch::Tensor& weight);

}  // namespace ddpm::nn
