#include "ddpm/diffusion/self_conditioning.h"

#include <utility>

namespace ddpm::diffusion {

torch::Tensor own_estimate(const Diffusion& diffusion, const torch::Tensor& output,
                           const torch::Tensor& x_t, const torch::Tensor& t) {
  const torch::NoGradGuard no_grad;
  return diffusion.estimate(output.detach(), x_t.detach(), t).x0.clamp(-1.0, 1.0);
}

SelfConditioning::SelfConditioning(const Diffusion& diffusion, torch::IntArrayRef sizes,
                                   const torch::TensorOptions& options)
    : diffusion_(diffusion), estimate_(torch::zeros(sizes, options)) {}

Denoiser SelfConditioning::remembering(Denoiser network) const {
  return [network = std::move(network), diffusion = diffusion_, estimate = estimate_](
             const torch::Tensor& x_t, const torch::Tensor& t) {
    const torch::Tensor output = network(x_t, t);
    const torch::NoGradGuard no_grad;
    estimate.narrow(0, 0, x_t.size(0)).copy_(own_estimate(diffusion, output, x_t, t));
    return output;
  };
}

}  // namespace ddpm::diffusion
