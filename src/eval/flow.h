#pragma once

#include "ddpm/diffusion/diffusion.h"

#include <cstdint>
#include <functional>

#include <torch/types.h>

namespace ddpm::eval {

/// Vectors v [B,C,H,W] for an estimate of a trace: the sum over k = 0..count - 1 of weight v^T J v.
struct TraceVectors {
  int64_t count = 1;
  double weight = 1.0;
  std::function<torch::Tensor(int64_t k)> vector;
};

/// The unit vectors of images like x, which give the exact trace.
TraceVectors unit_vectors(const torch::Tensor& x);

/// eps_hat [B,C,H,W] at x_t, and tr(d eps_hat / d x_t) of each image, [B].
struct Slope {
  torch::Tensor eps, trace;
};

/// The probability-flow ODE of a denoiser (docs/math.md, "The likelihood by the flow"), in float64.
class Flow {
 public:
  Flow(const diffusion::Denoiser& denoiser, const diffusion::Diffusion& diffusion)
      : denoiser_(denoiser), diffusion_(diffusion) {}

  /// eps_hat at x_t.
  torch::Tensor eps(const torch::Tensor& x_t, int64_t t) const;
  /// The same with the trace by these vectors: one vector-Jacobian product for each. Needs a
  /// denoiser that autograd can differentiate; gradients are enabled here alone.
  Slope slope(const torch::Tensor& x_t, int64_t t, const TraceVectors& vectors) const;

 private:
  diffusion::Denoiser denoiser_;
  diffusion::Diffusion diffusion_;
};

}  // namespace ddpm::eval
