#pragma once

#include "ddpm/data/loader.h"
#include "ddpm/train/train_step.h"

#include <torch/types.h>

namespace ddpm::train {

/// eps of training for x0 [B,C,H,W], shaped and placed as x0: that of the samples `noise_ids`,
/// int64 [B] on its device. N(0, I), plus settings.offset_noise times one N(0, 1) per image and
/// channel. A function of (seed, id) alone. No host sync.
torch::Tensor training_noise(const StepSettings& settings, const torch::Tensor& x0,
                             const torch::Tensor& noise_ids);

/// The samples whose noise each image of the batch gets, int64 [B]: the permutation of batch.ids
/// with the least sum of |x0 - eps|^2 (minibatch optimal transport: Tong 2024, "Improving and
/// Generalizing Flow-Based Generative Models"; Pooladian 2023). Images and ids are in host memory; x0 is as
/// training augments it. A function of (seed, batch) alone.
torch::Tensor transported_noise_ids(const StepSettings& settings, const data::Batch& batch);

}  // namespace ddpm::train
