#pragma once

#include "ddpm/diffusion/diffusion_config.h"
#include "ddpm/diffusion/schedule.h"

#include <cstdint>
#include <functional>

#include <torch/types.h>

namespace ddpm::diffusion {

/// The network as samplers use it: x_t [B,C,H,W] and t int64 [B] in 1..T, both on one device, to an
/// output [B,C,H,W] of any float dtype, or [B,2C,H,W] whose second half is a learned variance.
/// Diffusion interprets the output. Who makes a Denoiser from a network converts x_t and t to what the
/// network reads: Diffusion::network_input.
using Denoiser = std::function<torch::Tensor(const torch::Tensor& x_t, const torch::Tensor& t)>;

/// The two halves of x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps, both shaped like x_t.
struct Estimate {
  torch::Tensor x0;
  torch::Tensor eps;
  /// v of a network with a learned variance (Nichol 2021, Eq. 15), 0..1 if the network was trained
  /// so; else undefined.
  torch::Tensor variance_weight = {};
};

/// What a network reads in place of x_t and t.
struct NetworkInput {
  torch::Tensor x;     ///< [B,C,H,W], in x_t's dtype
  torch::Tensor time;  ///< [B]: int64 t - 1, or float64
};

/// The weight w(t) of the training loss: float [B] for int64 t [B] in 1..T, on t's device, without a
/// host sync.
using LossWeight = std::function<torch::Tensor(const torch::Tensor& t)>;

/// All of a diffusion model except its network: the schedule, what the network predicts, and the
/// training loss. Images are [B,...] of any float dtype, on t's device; t is int64 [B] in 1..T.
/// Copies share their tables. No host sync.
class Diffusion {
 public:
  explicit Diffusion(const DiffusionConfig& config);
  /// The same with an existing schedule. Without `weight`: 1 for every t (Ho 2020, Eq. 14).
  Diffusion(const Schedule& schedule, const Parameterization& parameterization,
            LossWeight weight = {});

  const Schedule& schedule() const { return schedule_; }
  const Parameterization& parameterization() const { return parameterization_; }
  Prediction prediction() const { return parameterization_.prediction; }

  /// What the network reads at (x_t, t): x_t and t - 1, as Ho's; for "flow" x_t on the straight path
  /// and T tau; for "edm" x_t over its standard deviation and ln(sigma) / 4 (Karras 2022, Table 1).
  NetworkInput network_input(const torch::Tensor& x_t, const torch::Tensor& t) const;

  /// Draws x_t ~ q(x_t | x_0) from a given eps ~ N(0,I) (Ho 2020, Eq. 4). x0 in [-1,1], eps:
  /// [B,C,H,W].
  torch::Tensor noised(const torch::Tensor& x0, const torch::Tensor& t,
                       const torch::Tensor& eps) const;

  /// What the network should output for x_t = noised(x0, t, eps): the training target, and the
  /// inverse of estimate().
  torch::Tensor target(const torch::Tensor& x0, const torch::Tensor& eps, const torch::Tensor& x_t,
                       const torch::Tensor& t) const;

  /// L_simple of each sample, [B] (Ho 2020, Eq. 14): the mean squared error of its elements, in
  /// target's dtype; a lower-precision output is widened first. Ignores a learned variance. Throws
  /// c10::Error if the shapes differ otherwise.
  static torch::Tensor unweighted_loss(const torch::Tensor& output, const torch::Tensor& target);
  /// The training loss of each sample, [B]: w(t) times unweighted_loss.
  torch::Tensor weighted(const torch::Tensor& unweighted_loss, const torch::Tensor& t) const;

  /// x0_hat and eps_hat from the network's output at (x_t, t), in x_t's dtype, and the variance
  /// weight of a [B,2C,...] output. Near t = T an eps or mu says little about x0, and rounding grows
  /// by 1/sqrt(alpha_bar): clip x0_hat there.
  Estimate estimate(const torch::Tensor& output, const torch::Tensor& x_t,
                    const torch::Tensor& t) const;
  /// The same with one t for the whole batch: the weights are float64 host numbers.
  Estimate estimate(const torch::Tensor& output, const torch::Tensor& x_t, int64_t t) const;

 private:
  Schedule schedule_;
  Parameterization parameterization_;
  LossWeight weight_;
};

/// A network's output [B,C,...] or [B,2C,...] with its first half replaced by `mean` [B,C,...], in
/// mean's dtype: a learned variance stays.
torch::Tensor with_mean(const torch::Tensor& output, const torch::Tensor& mean);

/// eps = (x_t - sqrt(alpha_bar) x0) / sqrt(1 - alpha_bar): the noise in x_t if its image is x0.
torch::Tensor implied_eps(const torch::Tensor& x0, const Schedule& schedule,
                          const torch::Tensor& x_t, int64_t t);

}  // namespace ddpm::diffusion
