#include "ddpm/diffusion/posterior.h"

#include <torch/types.h>

namespace ddpm::diffusion {

torch::Tensor ForwardProcess::sample(const torch::Tensor& x0, const torch::Tensor& t,
                                     const torch::Tensor& eps) const {
  return schedule_.gather(Table::kSqrtAlphaBar, t, x0) * x0 +
         schedule_.gather(Table::kSqrtOneMinusAlphaBar, t, x0) * eps;
}

torch::Tensor ForwardProcess::step(const torch::Tensor& x_previous, const torch::Tensor& t,
                                   const torch::Tensor& eps) const {
  return schedule_.gather(Table::kSqrtAlpha, t, x_previous) * x_previous +
         schedule_.gather(Table::kSqrtBeta, t, x_previous) * eps;
}

torch::Tensor ForwardProcess::posterior_mean(const torch::Tensor& x0, const torch::Tensor& x_t,
                                             const torch::Tensor& t) const {
  return schedule_.gather(Table::kPosteriorMeanX0, t, x0) * x0 +
         schedule_.gather(Table::kPosteriorMeanXt, t, x_t) * x_t;
}

torch::Tensor ForwardProcess::posterior_variance(const torch::Tensor& t,
                                                 const torch::Tensor& like) const {
  return schedule_.gather(Table::kPosteriorVariance, t, like);
}

}  // namespace ddpm::diffusion
