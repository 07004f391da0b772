#pragma once

#include <cstdint>

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

namespace ddpm::nn {

/// Group normalization (Wu and He 2018) with a weight and a bias per channel: the parameters of
/// torch::nn::GroupNorm for the kernels of kernels/group_norm.h. Torch's header of it
/// brings autograd's function templates: three seconds in every file that knows a network.
class GroupNormImpl : public torch::nn::Module {
 public:
  /// weight 1, bias 0; `groups` divides `channels`.
  GroupNormImpl(int64_t groups, int64_t channels, double eps);
  int64_t groups() const { return groups_; }
  double eps() const { return eps_; }

  torch::Tensor weight, bias;  ///< [C]

 private:
  int64_t groups_;
  double eps_;
};
TORCH_MODULE(GroupNorm);

}  // namespace ddpm::nn
