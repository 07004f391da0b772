#pragma once

#include "ddpm/diffusion/schedule.h"

#include <array>

#include <torch/types.h>

namespace ddpm::diffusion {

/// What the network predicts. Given x_t, each of the four determines the other three exactly
/// (docs/math.md, "Four parameterizations").
enum class Prediction {
  kEpsilon,  ///< "eps": the noise in x_t (Ho 2020, Eq. 12)
  kX0,       ///< "x0": the clean image
  kMu,       ///< "mu": the posterior mean of x_{t-1} (Ho 2020, Eq. 8)
  kV,        ///< "v": sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x0 (Salimans and Ho 2022, App. D)
};

/// The names in a config.
constexpr auto names_of(Prediction) { return std::array{"eps", "x0", "mu", "v"}; }

/// The two halves of x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps, both shaped like x_t.
struct Estimate {
  torch::Tensor x0;
  torch::Tensor eps;
  /// v of a network with a learned variance (Nichol 2021, Eq. 15), 0..1 if the network was trained
  /// so; else undefined.
  torch::Tensor variance_weight = {};
};

/// What the network should output for x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps: the
/// training target, and the inverse of estimate(). t is int64 [B] in 1..T.
torch::Tensor training_target(Prediction prediction, const Schedule& schedule,
                              const torch::Tensor& x0, const torch::Tensor& eps,
                              const torch::Tensor& x_t, const torch::Tensor& t);

/// x0_hat and eps_hat from the network's output at (x_t, t), in x_t's dtype. t is int64 [B]
/// in 1..T. Near t = T an eps or mu says little about x0, and rounding grows by 1/sqrt(alpha_bar):
/// clip x0_hat there.
Estimate estimate(Prediction prediction, const Schedule& schedule, const torch::Tensor& output,
                  const torch::Tensor& x_t, const torch::Tensor& t);

/// The same with one t for the whole batch: the weights are float64 host numbers.
Estimate estimate(Prediction prediction, const Schedule& schedule, const torch::Tensor& output,
                  const torch::Tensor& x_t, int64_t t);

}  // namespace ddpm::diffusion
