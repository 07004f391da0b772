#pragma once

#include "ddpm/io/image.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::data {

/// Height and width in pixels.
struct ImageSize {
  int64_t height = 0;
  int64_t width = 0;
  bool operator==(const ImageSize&) const = default;
};

/// Treatment of image files that cannot be read.
enum class BadImages {
  kError,  ///< the first is an IoError: at the start if its header is bad, else when it is read
  kSkip,   ///< all files are decoded at the start, and bad ones left out
  kSkipByHeader,  ///< those with a bad header are left out; the others are an IoError when read
};
/// The names in a config; kSkipByHeader has none.
constexpr auto names_of(BadImages) { return std::array{"error", "skip"}; }

/// Calls `make` in one of several processes and returns its result in all of them.
using ShareBytes =
    std::function<std::vector<uint8_t>(const std::function<std::vector<uint8_t>()>& make)>;

/// Conversion of the images of a file, folder or archive.
struct ImageOptions {
  /// Resized and cropped to this; without it all must have one size.
  std::optional<ImageSize> size;
  /// 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA, 5 to 16: an array's own; 0: as in the array, or as in
  /// the first file without alpha.
  int64_t channels = 0;
  BadImages bad_images = BadImages::kError;
  int64_t workers = 2;                  ///< threads that read files
  std::string labels = "auto";          ///< source of the classes: see src/data/labels.h
  int64_t max_pixels = io::kMaxPixels;  ///< limit for an image, as stored and as scaled
  /// Whether errors and remarks may suggest keys of [data].
  bool has_config = true;
  /// Known properties of the files from an earlier start (Dataset::save_index); empty: none.
  std::filesystem::path index = {};
  /// Lets one of several processes read the files' properties; empty: each reads them itself.
  ShareBytes share = {};
  int64_t depth = 8;  ///< bits per channel that are kept: 8, or 16, which also keeps floats
};

/// The size at which an image of size `from` just covers `to`, with its aspect ratio kept.
ImageSize covering_size(ImageSize from, ImageSize to);

/// Largest number of channels of an image.
inline constexpr int64_t kMaxImageChannels = 16;

/// Scales an image (bicubic, antialiased) to covering_size. chw: levels of 0..255, uint8, which are
/// rounded, or float32; [C,H,W].
torch::Tensor scale_to_cover(const torch::Tensor& chw, ImageSize size);

/// scale_to_cover, then cuts out the middle: [C,H,W] -> [C, size.height, size.width] of the same
/// type.
torch::Tensor resize_and_crop(const torch::Tensor& chw, ImageSize size);

/// uint8 or float32 [C,H,W] -> [channels,H,W], each of 1 to 4: grey <-> RGB; alpha, the last of 2
/// or 4, is kept, dropped, or added as 255. More channels are left alone: then the two must agree.
torch::Tensor with_channels(const torch::Tensor& chw, int64_t channels);

/// Levels of 0..255, uint8 or float32, rounded to uint8.
torch::Tensor rounded_levels(const torch::Tensor& levels);

}  // namespace ddpm::data
