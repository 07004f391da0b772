#include "ddpm/data/transform.h"

#include "ddpm/io/image.h"

#include <algorithm>
#include <cmath>

#include <torch/types.h>

namespace ddpm::data {
namespace {

bool has_alpha(int64_t channels) { return channels == 2 || channels == 4; }

// Grey <-> RGB: [1 or 3,H,W].
torch::Tensor with_colours(const torch::Tensor& colours, int64_t count) {
  if (colours.size(0) == count) return colours;
  if (count == 3) return colours.expand({3, -1, -1});
  // The integer weights of stb_image: all readers give the same grey image.
  const bool bytes = colours.scalar_type() == torch::kUInt8;
  const torch::Tensor x = bytes ? colours.to(torch::kInt) : colours;
  const torch::Tensor grey = ((77 * x[0] + 150 * x[1] + 29 * x[2]) / 256).unsqueeze(0);
  return bytes ? grey.floor().to(torch::kUInt8) : grey;
}

// Channels of images with more elements are scaled one by one, with the same result, because floats
// take the most memory.
constexpr int64_t kLargeImage = int64_t{1} << 22;

torch::Tensor scaled_to(const torch::Tensor& chw, ImageSize size) {
  torch::Tensor levels =
      at::_upsample_bicubic2d_aa(chw.to(torch::kFloat).unsqueeze(0), {size.height, size.width},
                                 /*align_corners=*/false)
          .squeeze(0);
  if (chw.scalar_type() == torch::kUInt8) return rounded_levels(levels);
  return levels.clamp_(0, 255);
}

}  // namespace

ImageSize covering_size(ImageSize from, ImageSize to) {
  const double scale = std::max(static_cast<double>(to.height) / static_cast<double>(from.height),
                                static_cast<double>(to.width) / static_cast<double>(from.width));
  const auto scaled = [scale](int64_t side) {
    return int64_t{std::lround(scale * static_cast<double>(side))};
  };
  return {std::max(to.height, scaled(from.height)), std::max(to.width, scaled(from.width))};
}

torch::Tensor scale_to_cover(const torch::Tensor& chw, ImageSize size) {
  const ImageSize from{chw.size(1), chw.size(2)};
  const ImageSize scaled = covering_size(from, size);
  if (scaled == from) return chw.contiguous();
  if (chw.numel() <= kLargeImage) return scaled_to(chw, scaled);
  std::vector<torch::Tensor> channels;
  for (int64_t c = 0; c < chw.size(0); ++c)
    channels.push_back(scaled_to(chw.narrow(0, c, 1), scaled));
  return torch::cat(channels);
}

torch::Tensor resize_and_crop(const torch::Tensor& chw, ImageSize size) {
  const torch::Tensor x = scale_to_cover(chw, size);
  const int64_t top = (x.size(1) - size.height) / 2, left = (x.size(2) - size.width) / 2;
  return x.narrow(1, top, size.height).narrow(2, left, size.width).contiguous();
}

torch::Tensor with_channels(const torch::Tensor& chw, int64_t channels) {
  const int64_t present = chw.size(0);
  if (present == channels) return chw;
  TORCH_CHECK(std::max(present, channels) <= io::kMaxImageChannels, "cannot turn ", present,
              " channels into ", channels);
  torch::Tensor x = with_colours(chw.narrow(0, 0, has_alpha(present) ? present - 1 : present),
                                 has_alpha(channels) ? channels - 1 : channels);
  if (has_alpha(channels)) {
    const torch::Tensor alpha = has_alpha(present) ? chw.narrow(0, present - 1, 1)
                                                   : torch::full_like(chw.narrow(0, 0, 1), 255);
    x = torch::cat({x, alpha});
  }
  return x.contiguous();
}

torch::Tensor rounded_levels(const torch::Tensor& levels) {
  if (levels.scalar_type() == torch::kUInt8) return levels;
  return levels.round().clamp_(0, 255).to(torch::kUInt8);
}

}  // namespace ddpm::data
