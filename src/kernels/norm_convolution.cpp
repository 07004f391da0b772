#include "ddpm/kernels/norm_convolution.h"

#include "ddpm/kernels/convolution.h"
#include "tile_convolution.h"

namespace ddpm::kernels {

torch::Tensor norm_silu_conv3x3(const torch::Tensor& x, const Norm& norm,
                                const torch::Tensor& weight, const torch::Tensor& bias,
                                const torch::Tensor& residual, const torch::Tensor& beside) {
  if (is_one_operation(x, weight, bias))
    return tile_conv3x3(tile_loops()->convolution, x, &norm, weight, bias, residual, beside);
  const torch::Tensor all = beside.defined() ? at::cat({x, beside}, 1) : x;
  const torch::Tensor h =
      group_norm_silu(all, norm.weight, norm.bias, norm.groups, norm.eps, norm.modulation);
  const torch::Tensor y = conv3x3(h, weight, bias);
  return residual.defined() ? y + residual : y;
}

bool is_one_operation(const torch::Tensor& x, const torch::Tensor& weight,
                      const torch::Tensor& bias) {
  return has_tiles_for(x, weight, bias);
}

}  // namespace ddpm::kernels
