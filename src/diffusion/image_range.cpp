#include "ddpm/diffusion/image_range.h"

#include <torch/types.h>

namespace ddpm::diffusion {

torch::Tensor to_model_range(const torch::Tensor& pixels, torch::Dtype dtype,
                             torch::MemoryFormat format) {
  TORCH_CHECK(pixels.scalar_type() == torch::kByte, "pixels are uint8, not ", pixels.dtype());
  // The conversion copies: the changes in place do not reach the pixels.
  return pixels.to(dtype, /*non_blocking=*/false, /*copy=*/false, format)
      .div_(kLevelsPerUnit)
      .sub_(1.0);
}

torch::Tensor to_uint8(const torch::Tensor& x) {
  const auto type = x.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
  const torch::Tensor pixels = (x.detach().to(type) + 1) * kLevelsPerUnit;
  return pixels.round().clamp(0, 255).nan_to_num(0).to(torch::kUInt8);
}

}  // namespace ddpm::diffusion
