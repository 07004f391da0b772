#pragma once

#include "ddpm/config/fields.h"
#include "ddpm/dist/world.h"

#include <array>
#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace ddpm::train {

/// How the learning rate goes on after the warm-up.
enum class LrDecay {
  kConstant,
  kCosine,       ///< to 0 after train.steps
  kLinear,       ///< to 0 after train.steps
  kInverseSqrt,  ///< "inverse_sqrt": lr / sqrt(max(1, step / decay_steps)) (Karras 2024, Eq. 67)
  /// "stable": constant, then in the last decay_steps lr (1 - sqrt(share)) down to 0 (warm-up, stable,
  /// decay; Haegele 2024)
  kStable,
};
constexpr auto names_of(LrDecay) {
  return std::array{"constant", "cosine", "linear", "inverse_sqrt", "stable"};
}

/// [optimizer]
struct OptimizerConfig {
  bool decoupled = false;  ///< kind = "adamw": decoupled weight decay (Loshchilov 2019)
  double lr = 2e-4;        ///< the learning rate after warm-up
  double beta1 = 0.9;      ///< 0 <= beta < 1
  double beta2 = 0.999;    ///< 0 <= beta < 1
  double eps = 1e-8;
  double weight_decay = 0.0;
  double grad_clip = 1.0;              ///< maximum global gradient norm; 0: no clipping
  int64_t warmup_steps = 0;            ///< the rate rises linearly from 0 over these steps
  LrDecay decay = LrDecay::kConstant;  ///< from the end of warm-up
  int64_t decay_steps = 0;             ///< of inverse_sqrt and stable; 0: a tenth of train.steps

  bool operator==(const OptimizerConfig&) const = default;
};

/// The keys of [optimizer].
void fields(config::Fields& f, OptimizerConfig& c);

/// The learning rate of update `step` (1..total), above 0. It depends only on the step, so that a
/// resumed run needs no state. After warm-up it equals PyTorch's CosineAnnealingLR(T_max = n) or
/// LinearLR(1, 0, n) over the n remaining updates.
double learning_rate(const OptimizerConfig& config, int64_t step, int64_t total_steps);

/// The results of one update: scalars on the device, so that no host sync is needed.
struct UpdateInfo {
  torch::Tensor grad_norm;  ///< before clipping
  torch::Tensor skipped;    ///< 1 if the norm was not finite and the update was skipped, else 0
};

/// Adam (Kingma 2015) or AdamW with ATen's fused kernels, after clipping by the global norm. An
/// update with a non-finite gradient changes neither parameters nor moments.
class Optimizer {
 public:
  Optimizer(std::vector<torch::Tensor> parameters, const OptimizerConfig& config);
  /// The same for `parameters`, a part of the network's parameters `whole`. Clipping uses the norm
  /// of the whole gradient.
  Optimizer(std::vector<torch::Tensor> parameters, const OptimizerConfig& config,
            std::vector<torch::Tensor> whole);

  /// Sets the learning rate of the next updates. It is in a tensor, which a captured update reads.
  void set_rate_(double lr) { rate_.fill_(lr); }
  /// One update from the parameters' gradients, which it may scale in place. No host sync.
  UpdateInfo step_();
  UpdateInfo step_(double lr) {
    set_rate_(lr);
    return step_();
  }

  /// The moments, one per parameter, and the count of updates (float32 scalar), for checkpoints.
  const std::vector<torch::Tensor>& first_moments() const { return first_moments_; }
  const std::vector<torch::Tensor>& second_moments() const { return second_moments_; }
  const torch::Tensor& updates() const { return updates_; }

 private:
  std::vector<torch::Tensor> parameters_, whole_;
  OptimizerConfig config_;
  std::vector<torch::Tensor> first_moments_, second_moments_;
  torch::Tensor updates_;
  torch::Tensor rate_;  // in the kernels' type: float64 on the CPU, float32 on CUDA
  std::vector<torch::Tensor> update_counts_;  // updates_ once per parameter, for the kernels
};

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
