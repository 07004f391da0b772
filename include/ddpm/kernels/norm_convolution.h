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

/// The second half of a residual block: conv3x3(group_norm_silu(x, norm), weight, bias) + residual.
/// x [B,C,H,W], weight [O,C,3,3], bias [O], residual [B,O,H,W] or undefined -> [B,O,H,W].
/// On a CPU with tiles (Intel AMX), where the result is bfloat16 (autocast) and C and O are
/// multiples of 32, it is one operation, image by image, that writes nothing but its result.
/// Elsewhere it is composed of the two.
torch::Tensor norm_silu_conv3x3(const torch::Tensor& x, const Norm& norm,
                                const torch::Tensor& weight, const torch::Tensor& bias,
                                const torch::Tensor& residual = {});

struct FirstHalf {
  torch::Tensor y;         ///< conv3x3(group_norm_silu(x, norm), weight, bias), [B,O,H,W]
  torch::Tensor shortcut;  ///< a 1x1 convolution of x, [B,O,H,W]
};

/// The first half of a residual block whose channels change. x [B,C,H,W]; where `beside`
/// [B,C2,H,W], a skip connection, is defined, it joins x along the channels. shortcut_weight
/// [O,C+C2,1,1], shortcut_bias [O]. One operation where norm_silu_conv3x3 is one, which then sees
/// the two joined an image at a time.
FirstHalf norm_silu_conv3x3_and_shortcut(const torch::Tensor& x, const torch::Tensor& beside,
                                         const Norm& norm, const torch::Tensor& weight,
                                         const torch::Tensor& bias,
                                         const torch::Tensor& shortcut_weight,
                                         const torch::Tensor& shortcut_bias);

/// Whether this CPU multiplies bfloat16 in tiles (Intel AMX), which makes bf16 much the fastest.
bool cpu_has_tiles();

/// Whether these are one operation here.
bool is_one_operation(const torch::Tensor& x, const torch::Tensor& weight,
                      const torch::Tensor& bias);

}  // namespace ddpm::kernels
