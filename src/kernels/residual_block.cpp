#include "ddpm/kernels/residual_block.h"

#include "autocast.h"
#include "ddpm/kernels/convolution.h"
#include "fused_block.h"

#include <ATen/record_function.h>

// Chooses between a residual block as one operation (fused_block.h), on a GPU, and its two halves.

namespace ddpm::kernels {
namespace {

// One random number, drawn on the device from torch's generator, so that a CUDA graph draws another
// one at each replay.
torch::Tensor draw_key(const torch::Tensor& x) {
  return torch::empty({1}, torch::dtype(torch::kLong).device(x.device())).random_();
}

torch::Tensor on_gpu(const ResidualBlock& block, const torch::Tensor& x,
                     const torch::Tensor& skip) {
  ResidualBlock cast = block;
  const torch::Tensor image = in_autocast(x);
  for (torch::Tensor* weight : {&cast.conv1.weight, &cast.conv2.weight, &cast.shortcut.weight}) {
    if (weight->defined()) *weight = weight->to(image.scalar_type());
  }
  // The shortcut's products are counted as a convolution; the other two are ATen's.
  if (cast.shortcut.weight.defined()) {
    RECORD_FUNCTION("ddpm::convolution", std::vector<c10::IValue>({image, cast.shortcut.weight}));
  }
  return fused_block(cast, image, skip.defined() ? skip.to(image.scalar_type()) : skip,
                     block.dropout > 0.0 ? draw_key(x) : torch::Tensor());
}

torch::Tensor second_of_two(const ResidualBlock& block, const torch::Tensor& h,
                            const torch::Tensor& shortcut) {
  const auto& [weight, bias] = block.conv2;
  if (block.dropout == 0.0) return norm_silu_conv3x3(h, block.norm2, weight, bias, shortcut);
  const Norm& norm = block.norm2;
  const torch::Tensor kept = torch::dropout(
      group_norm_silu(h, norm.weight, norm.bias, norm.groups, norm.eps, norm.modulation),
      block.dropout, true);
  return conv3x3(kept, weight, bias) + shortcut;
}

}  // namespace

torch::Tensor residual_block(const ResidualBlock& block, const torch::Tensor& x,
                             const torch::Tensor& around, const torch::Tensor& skip) {
  if (can_fuse_block(block, x, skip)) return on_gpu(block, x, skip);
  const auto& [weight, bias] = block.conv1;
  const bool has_shortcut = block.shortcut.weight.defined();
  if (has_shortcut && is_fused(x, weight, bias)) {
    const FirstHalf first = norm_silu_conv3x3_and_shortcut(
        x, skip, block.norm1, weight, bias, block.shortcut.weight, block.shortcut.bias);
    return second_of_two(block, first.y, first.shortcut);
  }
  if (skip.defined()) {
    const torch::Tensor joined = at::cat({x, skip}, 1);
    return residual_block(block, joined, joined);
  }
  const torch::Tensor h = norm_silu_conv3x3(x, block.norm1, weight, bias);
  return second_of_two(
      block, h,
      has_shortcut ? at::conv2d(around, block.shortcut.weight, block.shortcut.bias) : around);
}

}  // namespace ddpm::kernels
