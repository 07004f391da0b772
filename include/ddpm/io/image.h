#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::io {

/// Size of an encoded image; channels 1 (grey), 3 (RGB) or 4 (RGBA). Grey with alpha counts as
/// grey.
struct ImageInfo {
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
};

/// A decoded image, 8 bits a channel: pixels[(y * width + x) * channels + c].
struct Image {
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
  std::vector<uint8_t> pixels;
};

/// Size and channels of a whole encoded image, without decoding its pixels. Throws IoError(name,
/// ...) where it is no PNG, JPEG, BMP, PGM/PPM or TGA (TGA has no signature, so it is only tried
/// where `name` ends in .tga), is cut short, or fails its checksum (PNG).
ImageInfo image_info(std::span<const uint8_t> bytes, const std::string& name);

/// Decodes a whole image. `channels` 1, 3 or 4 converts (RGB to grey by 0.299 R + 0.587 G + 0.114
/// B; alpha is dropped, or 255 where the file has none); 0 keeps the file's. 16-bit files lose
/// their low byte. Throws IoError(name, ...) where the bytes are no image, are cut short, or fail
/// their checksum (PNG).
Image decode_image(std::span<const uint8_t> bytes, const std::string& name, int channels = 0);

/// HWC pixels as a tensor, uint8 [C,H,W].
torch::Tensor to_tensor(const Image& image);

/// chw_u8: uint8 [C,H,W], C = 1, 3 or 4.
std::vector<uint8_t> encode_png(const torch::Tensor& chw_u8);

/// Writes chw_u8 (uint8 [C,H,W], C = 1, 3 or 4). Throws IoError where the file cannot be written
/// whole.
void write_png(const std::filesystem::path& path, const torch::Tensor& chw_u8);

/// Lays images out in rows: uint8 [N,C,H,W] -> [C, rows*(H+padding)+padding,
/// columns*(W+padding)+padding]. columns 0: the nearest to a square.
torch::Tensor make_grid(const torch::Tensor& nchw_u8, int64_t columns = 0, int64_t padding = 2,
                        uint8_t background = 48);

/// Model range to pixels: x in [-1,1], any float type and shape -> uint8, 127.5 (x + 1) rounded to
/// nearest and clamped. NaN becomes 0.
torch::Tensor to_uint8(const torch::Tensor& x);

}  // namespace ddpm::io
