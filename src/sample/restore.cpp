#include "ddpm/sample/restore.h"

#include <utility>

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

diffusion::Estimate detached(const diffusion::Estimate& estimate) {
  const torch::Tensor& v = estimate.variance_weight;
  return {estimate.x0.detach(), estimate.eps.detach(), v.defined() ? v.detach() : v};
}

}  // namespace

RestoreSampler::RestoreSampler(std::unique_ptr<Sampler> inner, Measurement measurement,
                               double scale)
    : inner_(std::move(inner)), measurement_(std::move(measurement)), scale_(scale) {}

torch::Tensor RestoreSampler::step(const PlanStep& step, const torch::Tensor& x_t,
                                   const Estimator& estimate, const StepNoise& noise) {
  torch::Tensor x, x0_hat;  // of the first call, with its graph
  const Estimator recorded = [&](const torch::Tensor& at, int64_t t) {
    if (x0_hat.defined()) return estimate(at, t);
    const torch::AutoGradMode with_gradients(true);
    x = at.detach().requires_grad_();
    const diffusion::Estimate first = estimate(x, t);
    x0_hat = first.x0;
    return detached(first);
  };
  const torch::Tensor x_s = inner_->step(step, x_t, recorded, noise);
  return x_s - move(x, x0_hat);
}

torch::Tensor RestoreSampler::move(const torch::Tensor& x_t, const torch::Tensor& x0_hat) const {
  const auto& [measured, degrade] = measurement_;
  torch::Tensor squares, gradient;  // |y - A x0_hat|^2 [B], and its gradient [B,C,H,W]
  {
    const torch::AutoGradMode with_gradients(true);
    squares = (measured - degrade(x0_hat)).square().flatten(1).sum(1);
    gradient = torch::autograd::grad({squares.sum()}, {x_t})[0];
  }
  const torch::Tensor norm = squares.detach().sqrt();
  const torch::Tensor zeta = scale_ / norm.clamp_min(1e-12);
  return zeta.view({-1, 1, 1, 1}) * gradient;
}

}  // namespace ddpm::sample
