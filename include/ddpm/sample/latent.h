#pragma once

#include "ddpm/diffusion/diffusion.h"
#include "ddpm/sample/sample_config.h"

#include <vector>

#include <torch/types.h>

namespace ddpm::sample {

/// The noise that DDIM with eta 0 maps to these images: its update run backwards (Song 2021, Eq. 14;
/// the estimate at the beginning of a jump stands for that at its end). x0 [B,C,H,W] in [-1,1].
/// Returns x at the first t of the config's plan, [B,C,H,W]. One network call per step; the error of
/// decoding it again falls as 1 / steps. Does not clip.
torch::Tensor encode(const diffusion::Denoiser& denoiser, const diffusion::Diffusion& diffusion,
                     const SampleConfig& config, const torch::Tensor& x0);

/// Spherical interpolation of each image (Song 2021, App. D.5): a at share 0, b at share 1; it keeps
/// the norm that Gaussian noise has. a, b: [B,C,H,W].
torch::Tensor slerp(const torch::Tensor& a, const torch::Tensor& b, double share);

}  // namespace ddpm::sample
