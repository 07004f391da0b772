#pragma once

#include "ddpm/diffusion/condition.h"
#include "ddpm/diffusion/schedule.h"
#include "ddpm/sample/sampler.h"

#include <cstdint>
#include <memory>

#include <torch/types.h>

namespace ddpm::sample {

/// Fills in a part of known images: RePaint (Lugmayr 2022, Algorithm 1) around another sampler.
/// After each step the known pixels are replaced by q(x_s | x_0) of the known image, so that the step
/// fills in only the rest. Each step but the last is repeated `rounds` times: between rounds noise
/// leads back from s to t, which harmonises both parts. The result has the known pixels exactly.
class InpaintSampler : public Sampler {
 public:
  /// known: [B,C,H,W] in [-1,1], on the device of the chain. unknown: [B,1,H,W] or [B,C,H,W], 1
  /// where pixels are to be filled in, 0 where they are known. rounds: 1 or more; more than 1 needs a
  /// sampler without memory.
  InpaintSampler(std::unique_ptr<Sampler> inner, const diffusion::Schedule& schedule,
                 const torch::Tensor& known, const torch::Tensor& unknown, int64_t rounds);

  torch::Tensor step(const PlanStep& step, const torch::Tensor& x_t, const Estimator& estimate,
                     const StepNoise& noise) override;

 private:
  std::unique_ptr<Sampler> inner_;
  diffusion::Schedule schedule_;
  torch::Tensor known_, unknown_;
  int64_t rounds_;
};

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
