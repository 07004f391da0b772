#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::io {

/// Channels of an image file: grey, grey and alpha, RGB, RGBA.
inline constexpr int64_t kMaxImageChannels = 4;

/// Size of an encoded image after its EXIF orientation is applied; channels 1 (grey), 2 (grey and
/// alpha), 3 (RGB) or 4 (RGBA).
struct ImageInfo {
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
  bool deep = false;  ///< 16 bits per channel
  bool operator==(const ImageInfo&) const = default;
};

/// Default limit of an image's pixels. Decoding takes up to 10 bytes per pixel.
inline constexpr int64_t kMaxPixels = 128'000'000;

/// A decoded image, 8 bits per channel: pixels[(y * width + x) * channels + c].
struct Image {
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
  std::vector<uint8_t> pixels;
};

/// Size and channels of a complete encoded image, without decoding its pixels. Throws IoError(name,
/// ...) if it is not a PNG, JPEG, WebP, BMP, PGM/PPM or TGA, is truncated, or fails its checksum
/// (PNG). TGA has no signature, so it is only tried if `name` ends in .tga.
ImageInfo image_info(std::span<const uint8_t> bytes, const std::string& name);

/// The same from the first bytes of an image, without other checks. None if they are too few, or
/// not of an image (image_info then gives the reason).
std::optional<ImageInfo> image_header(std::span<const uint8_t> beginning, const std::string& name);

/// Decodes a complete image and applies the EXIF orientation of a JPEG or WebP. `channels` 1 to 4
/// converts (RGB to grey by 0.299 R + 0.587 G + 0.114 B; alpha is dropped, or 255 if the file has
/// none); 0 keeps the file's. 16-bit PNG is rounded to the nearest 8-bit value, v / 257. Throws
/// IoError(name, ...) if the bytes are not an image, are truncated, fail their checksum (PNG), or
/// hold less data than pixels. Throws before allocating if there are more than `max_pixels`.
Image decode_image(std::span<const uint8_t> bytes, const std::string& name, int channels = 0,
                   int64_t max_pixels = kMaxPixels);

/// The pixels as a tensor, uint8 [C,H,W].
torch::Tensor to_tensor(const Image& image);

/// As decode_image, but 16 bits keep their depth: [C,H,W] in levels of 0..255, uint8, or float32
/// with fractions, v / 257, if the file has 16 bits per channel.
torch::Tensor decode_levels(std::span<const uint8_t> bytes, const std::string& name,
                            int channels = 0, int64_t max_pixels = kMaxPixels);

/// pixels: [C,H,W], C = 1 to 4 (2: grey and alpha); uint8, or int32 of 0..65535 for a PNG of 16
/// bits per channel.
std::vector<uint8_t> encode_png(const torch::Tensor& pixels);

/// Writes the pixels, as encode_png takes them, by replace_file. Throws IoError.
void write_png(const std::filesystem::path& path, const torch::Tensor& pixels);

/// Images that a PNG can hold: [N,C,H,W] -> the same, or, with more than 4 channels, the channels as
/// grey images side by side, [N,1,H,C*W].
torch::Tensor viewable(const torch::Tensor& nchw);

/// Arranges images in rows: uint8 [N,C,H,W], made viewable -> [C, rows*(H+padding)+padding,
/// columns*(W+padding)+padding]. columns 0: nearly square. The background of an alpha channel (the
/// last of 2 or 4) is 255, opaque.
torch::Tensor make_grid(const torch::Tensor& nchw_u8, int64_t columns = 0, int64_t padding = 2,
                        uint8_t background = 48);

/// Two images per cell, left beside right: both uint8 [N,C,H,W]. columns: of cells.
torch::Tensor make_paired_grid(const torch::Tensor& left, const torch::Tensor& right,
                               int64_t columns = 0);

/// Enlarges a small image for viewing, without smoothing: each pixel becomes n x n pixels. n is the
/// smallest of 1 to 8 for which the longer side reaches `side` pixels. [C,H,W] -> [C,n*H,n*W].
torch::Tensor enlarged(const torch::Tensor& chw, int64_t side = 500);

}  // namespace ddpm::io
