#pragma once

#include "ddpm/diffusion/diffusion.h"
#include "ddpm/sample/timestep_plan.h"

#include <cstdint>
#include <functional>

#include <torch/types.h>

namespace ddpm::sample {

/// x0_hat and eps_hat at (x, t), clipped as configured: one evaluation of the network. x [B,C,H,W];
/// t in 1..T, the same for the batch.
using Estimator = std::function<diffusion::Estimate(const torch::Tensor& x, int64_t t)>;

/// z ~ N(0,I) [B,C,H,W], a function of (seed, image, step, draw). draw = 0, 1, ... counts within a
/// step.
using StepNoise = std::function<torch::Tensor(int64_t draw)>;

/// An update rule from x_t to x_s. One object per batch, whose steps it sees in order: it may keep
/// earlier estimates (multistep methods) and evaluate the network several times per step. It knows
/// neither the network nor its prediction nor where noise comes from. Its weights are float64 host
/// numbers, the same for the batch, so a step needs no host sync.
class Sampler {
 public:
  virtual ~Sampler() = default;

  /// x_s from x_t [B,C,H,W]. `estimate` and `noise` may be called any number of times, also never.
  virtual torch::Tensor step(const PlanStep& step, const torch::Tensor& x_t,
                             const Estimator& estimate, const StepNoise& noise) = 0;
};

}  // namespace ddpm::sample
