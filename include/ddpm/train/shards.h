#pragma once

#include "ddpm/dist/world.h"

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace ddpm::train {

/// Which rank keeps a parameter's moments and EMA weights (ZeRO stage 1, Rajbhandari 2020). Either
/// every rank keeps all of them, or each is on one rank, with about the same number of bytes per
/// rank.
class Shards {
 public:
  /// `world` must outlive it. `divided`: each parameter is assigned to one rank.
  Shards(const std::vector<torch::Tensor>& parameters, const dist::World& world, bool divided);

  bool divided() const { return divided_; }
  /// Selects the tensors that this rank keeps. `whole`: one tensor per parameter.
  std::vector<torch::Tensor> own(const std::vector<torch::Tensor>& whole) const;
  /// Broadcasts each parameter's tensor from the rank that keeps it. Collective.
  void exchange_(const std::vector<torch::Tensor>& whole) const;
  /// Gathers one tensor per parameter on rank 0; empty on other ranks. Tensors that this rank keeps
  /// are not copied. Collective.
  std::vector<torch::Tensor> gather(const std::vector<torch::Tensor>& own) const;

 private:
  const dist::World& world_;
  bool divided_;
  std::vector<torch::Tensor> parameters_;
  std::vector<int64_t> owner_;  // one rank per parameter
};

}  // namespace ddpm::train
