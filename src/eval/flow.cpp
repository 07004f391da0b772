#include "flow.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/utils.h>

namespace ddpm::eval {

TraceVectors unit_vectors(const torch::Tensor& x) {
  const int64_t dimensions = x.numel() / x.size(0);
  return {dimensions, 1.0, [like = torch::zeros_like(x)](int64_t k) {
            torch::Tensor unit = torch::zeros_like(like).flatten(1);
            unit.select(1, k).fill_(1.0);
            return unit.view(like.sizes());
          }};
}

torch::Tensor Flow::eps(const torch::Tensor& x_t, int64_t t) const {
  const torch::Tensor time =
      torch::full({x_t.size(0)}, t, torch::dtype(torch::kLong).device(x_t.device()));
  return diffusion_.estimate(denoiser_(x_t, time), x_t, t).eps;
}

Slope Flow::slope(const torch::Tensor& x_t, int64_t t, const TraceVectors& vectors) const {
  const torch::AutoGradMode with_gradient(true);
  const torch::Tensor x = x_t.detach().requires_grad_(true);
  const torch::Tensor found = eps(x, t);
  torch::Tensor trace = torch::zeros({x.size(0)}, x.options().requires_grad(false));
  for (int64_t k = 0; k < vectors.count; ++k) {
    const torch::Tensor v = vectors.vector(k);
    const bool needed_again = k + 1 < vectors.count;
    const torch::Tensor product =
        torch::autograd::grad({found}, {x}, {v}, /*retain_graph=*/needed_again)[0];
    trace += vectors.weight * (product * v).flatten(1).sum(1);
  }
  return {found.detach(), trace};
}

}  // namespace ddpm::eval
