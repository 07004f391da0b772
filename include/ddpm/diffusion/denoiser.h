#pragma once

#include <functional>

#include <torch/types.h>

namespace ddpm::diffusion {

/// The network as samplers use it: x_t [B,C,H,W] and t int64 [B] in 1..T, both on one device, to a
/// prediction [B,C,H,W] of any float dtype, or [B,2C,H,W] whose second half is a learned variance.
/// Its Prediction (eps, x0, mu, v) is passed separately. Who makes a Denoiser from a network
/// converts t to the network's convention (0..T-1).
using Denoiser = std::function<torch::Tensor(const torch::Tensor& x_t, const torch::Tensor& t)>;

}  // namespace ddpm::diffusion
