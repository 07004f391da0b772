#pragma once

#include <torch/types.h>

namespace ddpm::diffusion {

/// L_simple (Ho 2020, Eq. 14): the squared error's mean over all elements, a scalar in target's
/// dtype. A lower-precision `prediction` is widened to target's dtype first.
torch::Tensor simple_loss(const torch::Tensor& prediction, const torch::Tensor& target);

/// L_simple of each sample, [B]: its mean over the batch is simple_loss.
torch::Tensor simple_loss_per_sample(const torch::Tensor& prediction, const torch::Tensor& target);

}  // namespace ddpm::diffusion
