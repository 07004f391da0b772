#include "noise_coupling.h"

#include "assignment.h"
#include "augment_pipe.h"
#include "ddpm/base/rng.h"
#include "ddpm/diffusion/image_range.h"
#include "ddpm/kernels/elementwise.h"

#include <torch/utils.h>

namespace ddpm::train {

torch::Tensor training_noise(const StepSettings& settings, const torch::Tensor& x0,
                             const torch::Tensor& noise_ids) {
  torch::Tensor eps = torch::empty_like(x0);
  kernels::fill_normal_(eps, rng_key(settings.seed, Purpose::kTrainingNoise), noise_ids);
  if (settings.offset_noise == 0.0) return eps;
  torch::Tensor offset = torch::empty({x0.size(0), x0.size(1), 1, 1}, x0.options());
  kernels::fill_normal_(offset, rng_key(settings.seed, Purpose::kOffsetNoise), noise_ids);
  return eps.add_(offset, settings.offset_noise);
}

torch::Tensor transported_noise_ids(const StepSettings& settings, const data::Batch& batch) {
  TORCH_CHECK(batch.images.is_cpu(), "the coupling of noise needs images in host memory");
  const torch::NoGradGuard no_grad;
  torch::Tensor x0 = diffusion::to_model_range(batch.images, torch::kFloat);
  if (settings.augment)
    x0 = augmented(x0, draw_augmentation(settings.seed, *settings.augment, batch.ids));
  const torch::Tensor eps = training_noise(settings, x0, batch.ids);
  // |x0 - eps|^2 without the squares, whose sum no permutation changes.
  const torch::Tensor cost =
      x0.flatten(1).to(torch::kDouble).matmul(eps.flatten(1).to(torch::kDouble).t()).neg();
  return batch.ids.index_select(0, torch::tensor(best_assignment(cost), torch::kLong));
}

}  // namespace ddpm::train
