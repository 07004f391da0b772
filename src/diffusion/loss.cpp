#include "ddpm/diffusion/loss.h"

#include <torch/types.h>

namespace ddpm::diffusion {

torch::Tensor simple_loss(const torch::Tensor& prediction, const torch::Tensor& target) {
  return simple_loss_per_sample(prediction, target).mean();
}

torch::Tensor simple_loss_per_sample(const torch::Tensor& prediction, const torch::Tensor& target) {
  TORCH_CHECK(prediction.sizes() == target.sizes(), "prediction ", prediction.sizes(),
              " and target ", target.sizes(), " differ in shape");
  return (prediction.to(target.scalar_type()) - target).square().flatten(1).mean(1);
}

}  // namespace ddpm::diffusion
