#pragma once

#include "ddpm/diffusion/diffusion.h"

#include <functional>

#include <torch/types.h>

namespace ddpm::diffusion {

/// The gradient with respect to x_t of a log-density, as log p(y | x_t) of a classifier: x_t
/// [B,C,H,W] and t int64 [B] in 1..T to [B,C,H,W].
using Score = std::function<torch::Tensor(const torch::Tensor& x_t, const torch::Tensor& t)>;

/// A denoiser whose samples are pulled along a score (Dhariwal and Nichol 2021, Sec. 4.2 and
/// Algorithm 2): eps_hat - scale sqrt(1 - alpha_bar) score(x_t, t), in the terms of the diffusion's
/// prediction. Every sampler can use it. With scale 1 and the score of log p(y | x_t) it is the
/// denoiser of p(x_0 | y). Where alpha_bar is 0, x_t says nothing of y, and nothing is changed.
/// A learned variance stays as it is.
Denoiser score_guided(Denoiser inner, const Diffusion& diffusion, Score score, double scale);

}  // namespace ddpm::diffusion
