#include "ddpm/kernels/norm_convolution.h"

#include "ddpm/kernels/convolution.h"
#include "fused_convolution.h"

namespace ddpm::kernels {

torch::Tensor norm_silu_conv3x3(const torch::Tensor& x, const Norm& norm,
                                const torch::Tensor& weight, const torch::Tensor& bias,
                                const torch::Tensor& residual) {
  if (is_one_operation(x, weight, bias)) {
    return tile_conv3x3(tile_loops()->convolution, x, &norm, weight, bias, {.residual = residual})
        .y;
  }
  const torch::Tensor h =
      group_norm_silu(x, norm.weight, norm.bias, norm.groups, norm.eps, norm.modulation);
  const torch::Tensor y = conv3x3(h, weight, bias);
  return residual.defined() ? y + residual : y;
}

FirstHalf norm_silu_conv3x3_and_shortcut(const torch::Tensor& x, const torch::Tensor& beside,
                                         const Norm& norm, const torch::Tensor& weight,
                                         const torch::Tensor& bias,
                                         const torch::Tensor& shortcut_weight,
                                         const torch::Tensor& shortcut_bias) {
  if (is_one_operation(x, weight, bias)) {
    const TileResults results = tile_conv3x3(
        tile_loops()->convolution, x, &norm, weight, bias,
        {.beside = beside, .shortcut_weight = shortcut_weight, .shortcut_bias = shortcut_bias});
    return {results.y, results.shortcut};
  }
  const torch::Tensor all = beside.defined() ? at::cat({x, beside}, 1) : x;
  return {norm_silu_conv3x3(all, norm, weight, bias),
          at::conv2d(all, shortcut_weight, shortcut_bias)};
}

bool cpu_has_tiles() { return tile_loops() != nullptr; }

bool is_one_operation(const torch::Tensor& x, const torch::Tensor& weight,
                      const torch::Tensor& bias) {
  return has_tiles_for(x, weight, bias);
}

}  // namespace ddpm::kernels
