#include "ddpm/data/transform.h"

#include <algorithm>
#include <cmath>

#include <torch/types.h>

namespace ddpm::data {

torch::Tensor resize_and_crop(const torch::Tensor& chw_u8, ImageSize size) {
  const int64_t height = chw_u8.size(1), width = chw_u8.size(2);
  if (height == size.height && width == size.width) return chw_u8.contiguous();
  const double scale = std::max(static_cast<double>(size.height) / static_cast<double>(height),
                                static_cast<double>(size.width) / static_cast<double>(width));
  const int64_t scaled_height =
      std::max(size.height, int64_t{std::lround(scale * static_cast<double>(height))});
  const int64_t scaled_width =
      std::max(size.width, int64_t{std::lround(scale * static_cast<double>(width))});
  torch::Tensor x = chw_u8;
  if (scaled_height != height || scaled_width != width) {
    x = at::_upsample_bicubic2d_aa(x.to(torch::kFloat).unsqueeze(0), {scaled_height, scaled_width},
                                   /*align_corners=*/false)
            .squeeze(0)
            .round()
            .clamp(0, 255)
            .to(torch::kUInt8);
  }
  const int64_t top = (scaled_height - size.height) / 2, left = (scaled_width - size.width) / 2;
  return x.narrow(1, top, size.height).narrow(2, left, size.width).contiguous();
}

torch::Tensor with_channels(const torch::Tensor& chw_u8, int64_t channels) {
  if (chw_u8.size(0) == channels) return chw_u8;
  if (channels == 3) return chw_u8.expand({3, -1, -1}).contiguous();
  // The integer weights of stb_image, so that a grey picture is the same whichever reader made it.
  const torch::Tensor x = chw_u8.to(torch::kInt);
  return ((77 * x[0] + 150 * x[1] + 29 * x[2]) / 256).floor().to(torch::kUInt8).unsqueeze(0);
}

}  // namespace ddpm::data
