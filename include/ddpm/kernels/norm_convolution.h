#pragma once

#include "ddpm/kernels/group_norm.h"

#include <torch/types.h>

namespace ddpm::kernels {

/// What kernels/group_norm.h needs besides x.
struct Norm {
  torch::Tensor weight;  ///< [C]
  torch::Tensor bias;    ///< [C]
  int64_t groups = 1;
  double eps = 1e-6;
  Modulation modulation = {};
};

/// conv3x3(group_norm_silu(x, norm), weight, bias), and residual [B,O,H,W] added where it is
/// defined: half a residual block. x [B,C,H,W], weight [O,C,3,3], bias [O] -> [B,O,H,W]. Where
/// `beside` [B,C2,H,W] is defined, it stands for x and `beside` joined along the channels: a skip
/// connection.
/// On a CPU with tiles (Intel AMX), where the result is bfloat16 (autocast) and C and O are
/// multiples of 32, it is one operation, image by image, that writes nothing but its result.
/// Elsewhere it is composed of the two.
torch::Tensor norm_silu_conv3x3(const torch::Tensor& x, const Norm& norm,
                                const torch::Tensor& weight, const torch::Tensor& bias,
                                const torch::Tensor& residual = {},
                                const torch::Tensor& beside = {});

/// Whether norm_silu_conv3x3 is one operation here, which need not see x and `beside` joined.
bool is_one_operation(const torch::Tensor& x, const torch::Tensor& weight,
                      const torch::Tensor& bias);

}  // namespace ddpm::kernels
