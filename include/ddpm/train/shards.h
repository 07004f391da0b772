#pragma once

#include "ddpm/dist/world.h"

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace ddpm::train {

/// Which rank keeps the optimizer's moments and the averages of which parameter (ZeRO stage 1,
/// Rajbhandari 2020): either all of them on every rank, or each on one rank, divided so that all
/// hold about as many bytes.
class Shards {
 public:
  /// `world` must outlive it. `divided`: each parameter's on one rank.
  Shards(const std::vector<torch::Tensor>& parameters, const dist::World& world, bool divided);

  bool divided() const { return divided_; }
  /// Of one tensor a parameter, those that this rank keeps.
  std::vector<torch::Tensor> own(const std::vector<torch::Tensor>& whole) const;
  /// Every rank gets the others' tensors, one a parameter, from the ranks that keep them.
  /// Collective.
  void exchange_(const std::vector<torch::Tensor>& whole) const;
  /// One tensor a parameter, from what each rank keeps: on rank 0, nothing elsewhere. Tensors that
  /// this rank keeps are not copied. Collective.
  std::vector<torch::Tensor> gather(const std::vector<torch::Tensor>& own) const;

 private:
  const dist::World& world_;
  bool divided_;
  std::vector<torch::Tensor> parameters_;
  std::vector<int64_t> owner_;  // rank, a parameter
};

}  // namespace ddpm::train
