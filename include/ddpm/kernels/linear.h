#pragma once

#include <torch/types.h>

namespace ddpm::kernels {

/// at::linear, x [..., K] weight [N, K]' + bias [N], plus residual [..., N] if that is defined. On a
/// GPU, in autocast's type, bias and residual are added in one pass, and the bias's gradient is
/// summed in float32. weight may be in autocast's type already.
torch::Tensor linear(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                     const torch::Tensor& residual = {});

}  // namespace ddpm::kernels
