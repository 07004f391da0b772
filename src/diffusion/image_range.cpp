#include "ddpm/diffusion/image_range.h"

#include <torch/types.h>

namespace ddpm::diffusion {

torch::Tensor to_model_range(const torch::Tensor& pixels, torch::Dtype dtype,
                             torch::MemoryFormat format) {
  const bool known = pixels.scalar_type() == torch::kByte || pixels.scalar_type() == torch::kFloat;
  TORCH_CHECK(known, "pixels are uint8 or float32, not ", pixels.dtype());
  // The conversion copies: the changes in place do not reach the pixels.
  return pixels.to(dtype, /*non_blocking=*/false, /*copy=*/true, format)
      .div_(kLevelsPerUnit)
      .sub_(1.0);
}

namespace {

// x in 0..white, rounded.
torch::Tensor whole_levels(const torch::Tensor& x, double white) {
  const auto type = x.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
  const torch::Tensor levels = (x.detach().to(type) + 1) * (white / 2);
  return levels.round().clamp(0, white).nan_to_num(0);
}

}  // namespace

torch::Tensor to_uint8(const torch::Tensor& x) { return whole_levels(x, 255).to(torch::kUInt8); }

torch::Tensor to_16_bit(const torch::Tensor& x) { return whole_levels(x, 65535).to(torch::kInt); }

}  // namespace ddpm::diffusion
