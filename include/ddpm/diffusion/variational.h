#pragma once

#include "ddpm/config/names.h"
#include "ddpm/diffusion/diffusion.h"

#include <array>

#include <torch/types.h>

namespace ddpm::diffusion {

/// The variance of p(x_{t-1} | x_t). At t = 1 a fixed variance is beta_tilde_2, as in Ho's code,
/// since beta_tilde_1 = 0.
enum class ModelVariance {
  kSmall,    ///< beta_tilde
  kLarge,    ///< beta
  kLearned,  ///< interpolated by the network (Nichol 2021, Eq. 15)
};
constexpr auto names_of(ModelVariance) { return std::array{"small", "large", "learned"}; }

/// log P(x0 | mean, exp(log_variance)) of 256 levels, each a bin of width 2/255 around itself, the
/// outer two reaching to infinity (Ho 2020, Eq. 13): nats, float64. x0: [-1,1], on the levels.
torch::Tensor decoder_log_likelihood(const torch::Tensor& x0, const torch::Tensor& mean,
                                     const torch::Tensor& log_variance);

/// KL(N(m, exp(log_q)) || N(m + shift, exp(log_p))) of each element, nats.
torch::Tensor normal_divergence(const torch::Tensor& log_q, const torch::Tensor& log_p,
                                const torch::Tensor& shift);

/// The term of each image for its t (Ho 2020, Eq. 5): L_{t-1} = KL(q(x_{t-1} | x_t, x_0) || p) for
/// t >= 2, L_0 = -log p(x_0 | x_1) for t = 1: nats, float64 [B]. output: the network's, [B,C,H,W],
/// or [B,2C,H,W] with a learned variance. clip: x0_hat is clamped to [-1,1]. Can be differentiated
/// with respect to the output.
torch::Tensor variational_term(const Diffusion& diffusion, ModelVariance variance, bool clip,
                               const torch::Tensor& output, const torch::Tensor& x0,
                               const torch::Tensor& x_t, const torch::Tensor& t);

}  // namespace ddpm::diffusion
