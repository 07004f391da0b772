#pragma once

#include "ddpm/diffusion/schedule.h"

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace ddpm::train {

/// The learned weight of each t in the loss (Karras 2024, Eq. 14 to 16 and 21): the mean of
/// L / exp(u(t)) + u(t) is smallest at u(t) = log E L_t, where every t has the loss 1. u is one
/// linear layer on 128 Fourier features of c_noise = -log(SNR) / 8, which is Karras' log(sigma) / 4.
/// It begins at 0, where the loss is L. It is trained with the network, and no sampler reads it.
class LossUncertainty {
 public:
  static constexpr int64_t kFeatures = 128;

  /// `seed`: of the features' frequencies and phases. `dtype`: of the parameters.
  LossUncertainty(const diffusion::Schedule& schedule, uint64_t seed, torch::Dtype dtype,
                  const torch::Device& device);

  /// u(t), [B], of t int64 [B] in 1..T. No host sync.
  torch::Tensor at(const torch::Tensor& t) const;
  /// loss / exp(u) + u of each sample, [B].
  static torch::Tensor balanced(const torch::Tensor& loss, const torch::Tensor& u);

  /// The layer's weights [128] and bias [1].
  const std::vector<torch::Tensor>& parameters() const { return parameters_; }
  void zero_grad();

 private:
  diffusion::Schedule schedule_;
  torch::Tensor frequencies_, phases_;  // float64 [128], in turns
  std::vector<torch::Tensor> parameters_;
};

}  // namespace ddpm::train
