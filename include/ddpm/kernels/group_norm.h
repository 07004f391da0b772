#pragma once

#include <torch/types.h>

namespace ddpm::kernels {

/// Modulates a normalisation with one number per image and channel, [B, C]; each may be undefined.
struct Modulation {
  torch::Tensor add = {};    ///< to x, before the statistics are taken
  torch::Tensor scale = {};  ///< the normalised value is multiplied by 1 + scale
  torch::Tensor shift = {};  ///< and then has this added
};

/// SiLU of GroupNorm (Wu and He 2018, Eq. 1 and 2) in one pass over memory for the statistics and
/// one for the result:
///   h = x + add,  z = ((h - mean) / sqrt(var + eps) * weight + bias) * (1 + scale) + shift,
///   y = z sigmoid(z),
/// with mean and (biased) variance over each image's pixels and the C / groups channels of a group.
/// x: [B, C, H, W], float32, float64, bfloat16 or (CUDA) float16; weight, bias: [C]. Returns x's
/// shape and type. Statistics are computed in float32 within a block of pixels and merged in
/// float64; they do not depend on the number of threads. The backward pass keeps only x and the
/// statistics and computes the rest again; it has no second derivative.
/// If x is not channels_last or its device has no kernels, it is composed of ATen's operations.
torch::Tensor group_norm_silu(const torch::Tensor& x, const torch::Tensor& weight,
                              const torch::Tensor& bias, int64_t groups, double eps,
                              const Modulation& modulation = {});

/// The same without the SiLU: y = z.
torch::Tensor group_norm(const torch::Tensor& x, const torch::Tensor& weight,
                         const torch::Tensor& bias, int64_t groups, double eps,
                         const Modulation& modulation = {});

/// Both, composed of ATen's operations: the reference of the tests.
torch::Tensor composed_group_norm(const torch::Tensor& x, const torch::Tensor& weight,
                                  const torch::Tensor& bias, int64_t groups, double eps,
                                  const Modulation& modulation, bool silu);

}  // namespace ddpm::kernels
