#include "ddpm/kernels/convolution.h"
#include "ddpm/kernels/residual_block.h"
#include "fused_convolution.h"

// The halves of a residual block: one fused operation if fused_convolution.h supports it, else
// composed of GroupNorm, convolution and addition.

namespace ddpm::kernels {

torch::Tensor norm_silu_conv3x3(const torch::Tensor& x, const Norm& norm,
                                const torch::Tensor& weight, const torch::Tensor& bias,
                                const torch::Tensor& residual) {
  if (is_fused(x, weight, bias)) {
    return fused_conv3x3(
               amx::tile_loops()->convolution,
               {.x = x, .weight = weight, .bias = bias, .norm = norm, .residual = residual})
        .y;
  }
  const torch::Tensor h =
      group_norm_silu(x, norm.weight, norm.bias, norm.groups, norm.eps, norm.modulation);
  const torch::Tensor y = conv3x3(h, weight, bias);
  return residual.defined() ? y + residual : y;
}

FirstHalf norm_silu_conv3x3_and_shortcut(const torch::Tensor& x, const torch::Tensor& skip,
                                         const Norm& norm, const torch::Tensor& weight,
                                         const torch::Tensor& bias,
                                         const torch::Tensor& shortcut_weight,
                                         const torch::Tensor& shortcut_bias) {
  if (is_fused(x, weight, bias)) {
    const FusedConvOutputs out =
        fused_conv3x3(amx::tile_loops()->convolution, {.x = x,
                                                       .weight = weight,
                                                       .bias = bias,
                                                       .norm = norm,
                                                       .skip = skip,
                                                       .shortcut_weight = shortcut_weight,
                                                       .shortcut_bias = shortcut_bias});
    return {out.y, out.shortcut};
  }
  const torch::Tensor input = skip.defined() ? at::cat({x, skip}, 1) : x;
  return {norm_silu_conv3x3(input, norm, weight, bias),
          at::conv2d(input, shortcut_weight, shortcut_bias)};
}

bool is_fused(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias) {
  return can_fuse_conv3x3(x, weight, bias);
}

}  // namespace ddpm::kernels
