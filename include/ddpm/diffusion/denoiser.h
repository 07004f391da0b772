#pragma once

#include <functional>

#include <torch/types.h>

namespace ddpm::diffusion {

/// The network as samplers see it: x_t [B,C,H,W] and t int64 [B] in 1..T, both on one device, to a
/// prediction [B,C,H,W] of any float dtype, or [B,2C,H,W] with a learned variance behind it. What
/// it predicts (eps, x0, mu, v) travels beside it as a Prediction. The network's own convention for
/// t (0..T-1) is the business of whoever makes a Denoiser from a network.
using Denoiser = std::function<torch::Tensor(const torch::Tensor& x_t, const torch::Tensor& t)>;

}  // namespace ddpm::diffusion
