#include "ddpm/diffusion/condition.h"

#include "ddpm/diffusion/image_range.h"

#include <vector>

#include <torch/types.h>

namespace ddpm::diffusion {

std::array<int64_t, 3> condition_shape(const ConditionConfig& config, int64_t channels,
                                       int64_t height, int64_t width) {
  switch (config.kind) {
    case ConditionKind::kNone:
      return {0, height, width};
    case ConditionKind::kDownsample:
      return {channels, height / config.factor, width / config.factor};
    case ConditionKind::kGrey:
      return {1, height, width};
  }
  TORCH_CHECK(false, "unknown condition");
}

int64_t condition_channels(const ConditionConfig& config, int64_t channels) {
  return condition_shape(config, channels, 1, 1)[0];
}

torch::Tensor condition_picture(const ConditionConfig& config, const torch::Tensor& x0) {
  TORCH_CHECK(config.is_set(), "there is no condition");
  const Degradation degrade =
      config.kind == ConditionKind::kGrey ? grey() : downsampling(config.factor);
  return to_uint8(degrade(x0));
}

torch::Tensor condition_input(const torch::Tensor& pictures, int64_t height, int64_t width,
                              torch::Dtype dtype) {
  const torch::Tensor x = to_model_range(pictures, dtype);
  if (x.size(2) == height && x.size(3) == width) return x;
  return torch::upsample_bicubic2d(x, torch::IntArrayRef{height, width}, /*align_corners=*/false);
}

torch::Tensor condition_image(const torch::Tensor& pictures, int64_t channels, int64_t height,
                              int64_t width) {
  const torch::Tensor x = to_uint8(condition_input(pictures, height, width, torch::kFloat));
  return x.expand({-1, channels, -1, -1}).contiguous();
}

}  // namespace ddpm::diffusion
