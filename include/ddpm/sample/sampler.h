#pragma once

#include "ddpm/diffusion/parameterization.h"
#include "ddpm/diffusion/schedule.h"
#include "ddpm/sample/timestep_plan.h"

#include <memory>

#include <torch/types.h>

namespace ddpm::sample {

struct SampleConfig;

/// An update rule: x_t and what the network makes of it, to x_s. It knows nothing of the network,
/// of what the network predicts, or of where noise comes from. Its weights are float64 host
/// numbers, the same for the whole batch, so a step needs no host sync.
class Sampler {
 public:
  virtual ~Sampler() = default;

  /// Whether step() reads z at this step.
  virtual bool uses_noise(const PlanStep& step) const = 0;

  /// x_s from x_t [B,C,H,W], the estimate at x_t, and z ~ N(0,I) [B,C,H,W] (undefined where
  /// uses_noise says no).
  virtual torch::Tensor step(const PlanStep& step, const torch::Tensor& x_t,
                             const diffusion::Estimate& estimate, const torch::Tensor& z) const = 0;
};

/// The update rule that a config names.
std::unique_ptr<Sampler> make_sampler(const SampleConfig& config,
                                      const diffusion::Schedule& schedule);

}  // namespace ddpm::sample
