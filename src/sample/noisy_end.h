#pragma once

#include "ancestral.h"

namespace ddpm::sample {

/// Algorithm 2 as diffusers' DDPMScheduler ends it: if the last step begins above t = 1, it adds
/// noise to the finished image too, of the variance that the jump to s = 0 has there (beta_tilde,
/// which is 0, as 1e-20).
class NoisyEnd : public Sampler {
 public:
  NoisyEnd(const diffusion::Schedule& schedule, AncestralVariance variance)
      : schedule_(schedule), variance_(variance), inner_(schedule, variance) {}

  torch::Tensor step(const PlanStep& step, const torch::Tensor& x_t, const Estimator& estimate,
                     const StepNoise& noise) override;

 private:
  diffusion::Schedule schedule_;
  AncestralVariance variance_;
  AncestralSampler inner_;
};

}  // namespace ddpm::sample
