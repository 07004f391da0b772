#pragma once

#include "ddpm/diffusion/degradation.h"
#include "ddpm/sample/sampler.h"

#include <memory>

#include <torch/types.h>

namespace ddpm::sample {

/// What is known of the images to be restored: y = A x_0 + noise.
struct Measurement {
  torch::Tensor measured;          ///< y [B,...], in the dtype and on the device of the chain
  diffusion::Degradation degrade;  ///< A
};

/// Restores degraded images: diffusion posterior sampling (Chung 2023, Algorithm 1) around another
/// sampler. After each step, x_s moves by -zeta times the gradient of |y - A x0_hat(x_t)|^2 with
/// respect to x_t, zeta = scale / |y - A x0_hat|, for each image by itself.
/// The gradient is that of the step's first estimate, so the network is not called more often.
class RestoreSampler : public Sampler {
 public:
  /// The estimator must be differentiable in x, if autograd is on. `inner` must be without memory of
  /// former steps (MethodEntry::remembers), and must begin with the estimate at x_t.
  RestoreSampler(std::unique_ptr<Sampler> inner, Measurement measurement, double scale);

  torch::Tensor step(const PlanStep& step, const torch::Tensor& x_t, const Estimator& estimate,
                     const StepNoise& noise) override;

 private:
  torch::Tensor move(const torch::Tensor& x_t, const torch::Tensor& x0_hat) const;

  std::unique_ptr<Sampler> inner_;
  Measurement measurement_;
  double scale_;
};

}  // namespace ddpm::sample
