#pragma once

#include "ddpm/kernels/residual_block.h"
#include "group_norm_math.h"

#include <vector>

#include <torch/types.h>

// The memory that GroupNorm's kernels work on, as tensors of the device: between the autograd
// functions, which see tensors, and the kernels, which see pointers (GroupNormArgs).

namespace ddpm::kernels {

/// The shape of images like x, [B,?,H,W], with these channels. Chooses the pixels per block.
GroupNormShape group_norm_shape(const torch::Tensor& x, int64_t channels, int64_t groups,
                                double eps, bool silu);

/// What the backward pass needs besides x: float64 [B, groups], [B, groups] and [B, C].
struct GroupNormStatistics {
  torch::Tensor mean, rstd, channel_mean;
};

/// The tensors that GroupNormArgs points into: parameters as contiguous float32 (float64 for
/// float64 images), statistics, working memory and gradients.
struct GroupNormBuffers {
  torch::Tensor weight, bias, add, scale, shift;
  GroupNormStatistics statistics;
  torch::Tensor partial, coefficients;
  torch::Tensor d_parameters;                               ///< d_weight and d_bias, [2, B, C]
  torch::Tensor d_weight, d_bias, d_add, d_scale, d_shift;  ///< [B, C] each

  GroupNormBuffers(const torch::Tensor& x, const GroupNormShape& s, const torch::Tensor& weight_C,
                   const torch::Tensor& bias_C, const Modulation& m);

  /// Before the forward pass.
  void allocate_statistics(const GroupNormShape& s);
  /// Before the backward pass.
  void allocate_gradients(const GroupNormShape& s);

  /// The gradients of weight, bias, add, scale and shift, in the types of these.
  std::vector<torch::Tensor> gradients(const torch::Tensor& weight_C, const torch::Tensor& bias_C,
                                       const Modulation& m) const;

  template <class A>
  GroupNormArgs<A> args() const {
    const auto at = [](const torch::Tensor& t) { return t.defined() ? t.data_ptr<A>() : nullptr; };
    return {at(weight),
            at(bias),
            at(add),
            at(scale),
            at(shift),
            statistics.mean.data_ptr<double>(),
            statistics.rstd.data_ptr<double>(),
            statistics.channel_mean.data_ptr<double>(),
            partial.data_ptr<double>(),
            at(coefficients),
            at(d_weight),
            at(d_bias),
            at(d_add),
            at(d_scale),
            at(d_shift)};
  }
};

}  // namespace ddpm::kernels
