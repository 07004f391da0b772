#pragma once

#include <cstdint>
#include <optional>

#include <torch/types.h>

namespace ddpm::data {

/// Height and width in pixels.
struct ImageSize {
  int64_t height = 0;
  int64_t width = 0;
  bool operator==(const ImageSize&) const = default;
};

/// What the images of a file, folder or archive are turned into.
struct ImageOptions {
  std::optional<ImageSize>
      size;              ///< resized and cropped to this; without it all must have one size
  int64_t channels = 0;  ///< 1 or 3; 0: as in the first file (alpha dropped)
};

/// Scales an image, aspect kept, until it just covers `size` (bicubic, antialiased), and cuts out
/// the middle. chw_u8: uint8 [C,H,W] -> uint8 [C, size.height, size.width].
torch::Tensor resize_and_crop(const torch::Tensor& chw_u8, ImageSize size);

/// Grey <-> RGB: uint8 [C,H,W] -> [channels,H,W], each of 1 or 3.
torch::Tensor with_channels(const torch::Tensor& chw_u8, int64_t channels);

}  // namespace ddpm::data
