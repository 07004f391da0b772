#pragma once

#include <torch/types.h>

namespace ddpm::kernels {

/// Modulates a normalisation with one number per image and channel, [B, C]; each may be undefined.
struct Modulation {
  torch::Tensor add = {};    ///< to x, before the statistics are taken
  torch::Tensor scale = {};  ///< the normalised value is multiplied by 1 + scale
  torch::Tensor shift = {};  ///< and then has this added
};

/// SiLU of GroupNorm (Wu and He 2018, Eq. 1 and 2) in one pass over memory for the statistics and
/// one for the result:
///   h = x + add,  z = ((h - mean) / sqrt(var + eps) * weight + bias) * (1 + scale) + shift,
///   y = z sigmoid(z),
/// with mean and (biased) variance over each image's pixels and the C / groups channels of a group.
/// x: [B, C, H, W], float32, float64, bfloat16 or (CUDA) float16; weight, bias: [C]. Returns x's
/// shape and type. Statistics are computed in float32 within a block of pixels and merged in
/// float64; they do not depend on the number of threads. The backward pass keeps only x and the
/// statistics and computes the rest again; it has no second derivative.
/// If x is not channels_last or its device has no kernels, it is composed of ATen's operations.
torch::Tensor group_norm_silu(const torch::Tensor& x, const torch::Tensor& weight,
                              const torch::Tensor& bias, int64_t groups, double eps,
                              const Modulation& modulation = {});

/// The same without the SiLU: y = z.
torch::Tensor group_norm(const torch::Tensor& x, const torch::Tensor& weight,
                         const torch::Tensor& bias, int64_t groups, double eps,
                         const Modulation& modulation = {});

/// Both, composed of ATen's operations: the reference of the tests.
torch::Tensor composed_group_norm(const torch::Tensor& x, const torch::Tensor& weight,
                                  const torch::Tensor& bias, int64_t groups, double eps,
                                  const Modulation& modulation, bool silu);

/// The arguments of group_norm_silu besides x.
struct Norm {
  torch::Tensor weight;  ///< [C]
  torch::Tensor bias;    ///< [C]
  int64_t groups = 1;
  double eps = 1e-6;
  Modulation modulation = {};
};

/// The second half of a residual block: conv3x3(group_norm_silu(x, norm), weight, bias) + residual.
/// x [B,C,H,W], weight [O,C,3,3], bias [O], residual [B,O,H,W] or undefined -> [B,O,H,W].
/// If is_fused, it is one operation that works image by image and writes nothing but its result.
/// Otherwise it is composed of the two.
torch::Tensor norm_silu_conv3x3(const torch::Tensor& x, const Norm& norm,
                                const torch::Tensor& weight, const torch::Tensor& bias,
                                const torch::Tensor& residual = {});

struct FirstHalf {
  torch::Tensor y;         ///< conv3x3(group_norm_silu(x, norm), weight, bias), [B,O,H,W]
  torch::Tensor shortcut;  ///< a 1x1 convolution of x, [B,O,H,W]
};

/// The first half of a residual block whose channels change. x [B,C,H,W]; skip [B,C2,H,W], if
/// defined, is a skip connection that is concatenated to x along the channels. shortcut_weight
/// [O,C+C2,1,1], shortcut_bias [O]. If is_fused, it is one operation, and the concatenated input
/// only exists for one image at a time.
FirstHalf norm_silu_conv3x3_and_shortcut(const torch::Tensor& x, const torch::Tensor& skip,
                                         const Norm& norm, const torch::Tensor& weight,
                                         const torch::Tensor& bias,
                                         const torch::Tensor& shortcut_weight,
                                         const torch::Tensor& shortcut_bias);

/// Whether the two functions above are fused for these arguments here: on a CPU with AVX2 or
/// newer, under autocast to bfloat16, with channels in multiples of 32.
bool is_fused(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias);

/// A 3x3 or 1x1 convolution's parameters.
struct ConvParameters {
  torch::Tensor weight;  ///< [O,C,k,k]
  torch::Tensor bias;    ///< [O]
};

/// A residual block (Ho 2020, App. B):
///   h = conv1(SiLU(norm1(x))),  y = conv2(dropout(SiLU(norm2(h)))) + shortcut(x).
/// norm2's modulation brings in the time embedding.
struct ResidualBlock {
  Norm norm1;
  ConvParameters conv1;
  Norm norm2;
  double dropout = 0.0;  ///< 0 <= p < 1
  ConvParameters conv2;
  ConvParameters shortcut;  ///< 1x1; undefined: x itself
};

/// x [B,C,H,W]; skip [B,C2,H,W], if defined, is concatenated to x along the channels; around: x
/// again, for the shortcut. Returns [B,O,H,W]. On a GPU it is one operation: norm, SiLU and dropout
/// in one kernel, which reads x and skip unjoined; conv1's bias is added by norm2; conv2's bias and
/// the shortcut are added in one pass; so are the two gradients of x. No mask of dropout is stored.
/// The weights may be in autocast's type already. On a CPU it is the two halves above.
torch::Tensor residual_block(const ResidualBlock& block, const torch::Tensor& x,
                             const torch::Tensor& around, const torch::Tensor& skip = {});

}  // namespace ddpm::kernels
