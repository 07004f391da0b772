#pragma once

#include "ddpm/diffusion/schedule.h"

#include <torch/types.h>

namespace ddpm::diffusion {

/// The forward process q of Ho et al. 2020 and its posterior. t is int64 [B] in 1..T; images are
/// [B,...] of any float dtype, on t's device.
class ForwardProcess {
 public:
  explicit ForwardProcess(const Schedule& schedule) : schedule_(schedule) {}
  const Schedule& schedule() const { return schedule_; }

  /// Draws x_t ~ q(x_t | x_0) from a given eps ~ N(0,I) (Ho 2020, Eq. 4). x0 in [-1,1], eps:
  /// [B,C,H,W].
  torch::Tensor sample(const torch::Tensor& x0, const torch::Tensor& t,
                       const torch::Tensor& eps) const;

  /// Draws x_t ~ q(x_t | x_{t-1}) from a given eps ~ N(0,I) (Ho 2020, Eq. 2).
  torch::Tensor step(const torch::Tensor& x_previous, const torch::Tensor& t,
                     const torch::Tensor& eps) const;

  /// The mean of q(x_{t-1} | x_t, x_0) (Ho 2020, Eqs. 6 and 7). Returns x_0 at t = 1.
  torch::Tensor posterior_mean(const torch::Tensor& x0, const torch::Tensor& x_t,
                               const torch::Tensor& t) const;

  /// The variance beta_tilde of q(x_{t-1} | x_t, x_0) (Ho 2020, Eq. 7), [B,1,1,1] to go with
  /// `like`. 0 at t = 1.
  torch::Tensor posterior_variance(const torch::Tensor& t, const torch::Tensor& like) const;

 private:
  Schedule schedule_;
};

}  // namespace ddpm::diffusion
