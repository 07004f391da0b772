#pragma once

#include "ddpm/dist/world.h"

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace ddpm::train {

/// Which rank keeps a parameter's moments and averages (ZeRO stage 1, Rajbhandari 2020). Either
/// every rank keeps all of them, or each is on one rank, so that all ranks hold about the same
/// number of bytes.
class Shards {
 public:
  /// `world` must outlive it. `divided`: each parameter's are on one rank.
  Shards(const std::vector<torch::Tensor>& parameters, const dist::World& world, bool divided);

  bool divided() const { return divided_; }
  /// The tensors that this rank keeps, of one per parameter.
  std::vector<torch::Tensor> own(const std::vector<torch::Tensor>& whole) const;
  /// Sends each parameter's tensor from the rank that keeps it to all others. Collective.
  void exchange_(const std::vector<torch::Tensor>& whole) const;
  /// One tensor per parameter, from the ranks that keep them, on rank 0; empty on the others.
  /// Tensors that this rank keeps are not copied. Collective.
  std::vector<torch::Tensor> gather(const std::vector<torch::Tensor>& own) const;

 private:
  const dist::World& world_;
  bool divided_;
  std::vector<torch::Tensor> parameters_;
  std::vector<int64_t> owner_;  // rank, a parameter
};

}  // namespace ddpm::train
