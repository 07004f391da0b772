#include "ddpm/io/image.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "exif.h"
#include "image_format.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <stb_image.h>
#include <stb_image_write.h>
#include <torch/types.h>

namespace ddpm::io {
namespace {

constexpr const char* kFormats = "PNG, JPEG, BMP, PGM/PPM or (named .tga) TGA";

// Throws IoError unless stb_image may be given the bytes: a known format, whole, and not longer
// than its int.
void expect_whole(std::span<const uint8_t> bytes, const std::string& name) {
  if (bytes.empty()) throw IoError(name, "is empty; remove the file or restore it");
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
    throw IoError(name, "is larger than 2 GiB, too large for an image");
  }
  const ImageFormat format = image_format(bytes, name);
  if (format == ImageFormat::kUnknown) {
    throw IoError(name, fmt::format("is not a {} image; remove the file or convert it", kFormats));
  }
  const std::string damage = image_damage(bytes, format);
  if (!damage.empty()) {
    throw IoError(name, fmt::format("is not a readable image: it {} (truncated or damaged on the "
                                    "way?); remove the file or restore it",
                                    damage));
  }
}

[[noreturn]] void fail_unreadable(const std::string& name) {
  const char* reason = stbi_failure_reason();
  throw IoError(name,
                fmt::format("is not a readable PNG/JPEG/BMP image (truncated? decoder says: {}); "
                            "remove the file or restore it",
                            reason ? reason : "unknown"));
}

ImageInfo read_info(std::span<const uint8_t> bytes, const std::string& name) {
  int width = 0, height = 0, channels = 0;
  if (!stbi_info_from_memory(bytes.data(), static_cast<int>(bytes.size()), &width, &height,
                             &channels)) {
    fail_unreadable(name);
  }
  if (height <= 0 || width <= 0) throw IoError(name, "has no pixels; remove the file");
  return {height, width, channels};
}

// What is asked of stb_image is asked of the image as it is stored.
ImageInfo upright(const ImageInfo& stored, int orientation) {
  if (!swaps_sides(orientation)) return stored;
  return {stored.width, stored.height, stored.channels};
}

std::vector<uint8_t> decode_8_bit(std::span<const uint8_t> bytes, const std::string& name,
                                  const ImageInfo& info, int channels) {
  int width = 0, height = 0, in_file = 0;
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(bytes.data(), static_cast<int>(bytes.size()), &width, &height, &in_file,
                            channels),
      stbi_image_free);
  if (!pixels || width != info.width || height != info.height) fail_unreadable(name);
  const size_t count = static_cast<size_t>(width) * height * channels;
  return {pixels.get(), pixels.get() + count};
}

std::vector<uint8_t> decode_16_bit(std::span<const uint8_t> bytes, const std::string& name,
                                   const ImageInfo& info, int channels) {
  int width = 0, height = 0, in_file = 0;
  const std::unique_ptr<stbi_us, void (*)(void*)> pixels(
      stbi_load_16_from_memory(bytes.data(), static_cast<int>(bytes.size()), &width, &height,
                               &in_file, channels),
      stbi_image_free);
  if (!pixels || width != info.width || height != info.height) fail_unreadable(name);
  std::vector<uint8_t> rounded(static_cast<size_t>(width) * height * channels);
  for (size_t i = 0; i < rounded.size(); ++i) {
    rounded[i] = static_cast<uint8_t>((pixels.get()[i] + 128u) / 257u);
  }
  return rounded;
}

// uint8 [C,H,W] -> contiguous [H,W,C] on the CPU.
torch::Tensor interleaved(const torch::Tensor& chw_u8) {
  TORCH_CHECK(chw_u8.scalar_type() == torch::kUInt8 && chw_u8.dim() == 3,
              "expected uint8 [C,H,W], got ", chw_u8.scalar_type(), " ", chw_u8.sizes());
  const int64_t channels = chw_u8.size(0);
  TORCH_CHECK(channels >= 1 && channels <= 4, "a PNG has 1 to 4 channels, not ", channels);
  TORCH_CHECK(chw_u8.numel() > 0, "cannot write an image of size ", chw_u8.sizes());
  return chw_u8.cpu().permute({1, 2, 0}).contiguous();
}

}  // namespace

ImageInfo image_info(std::span<const uint8_t> bytes, const std::string& name) {
  expect_whole(bytes, name);
  return upright(read_info(bytes, name), exif_orientation(bytes));
}

std::optional<ImageInfo> image_header(std::span<const uint8_t> beginning, const std::string& name) {
  const size_t limit = static_cast<size_t>(std::numeric_limits<int>::max());
  beginning = beginning.first(std::min(beginning.size(), limit));
  if (!header_is_safe(beginning, image_format(beginning, name))) return std::nullopt;
  int width = 0, height = 0, channels = 0;
  if (!stbi_info_from_memory(beginning.data(), static_cast<int>(beginning.size()), &width, &height,
                             &channels) ||
      height <= 0 || width <= 0) {
    return std::nullopt;
  }
  return upright({height, width, channels}, exif_orientation(beginning));
}

Image decode_image(std::span<const uint8_t> bytes, const std::string& name, int channels) {
  TORCH_CHECK(channels >= 0 && channels <= 4, "channels must be 0 to 4, not ", channels);
  expect_whole(bytes, name);
  const ImageInfo info = read_info(bytes, name);
  if (channels == 0) channels = static_cast<int>(info.channels);
  const bool deep = image_format(bytes, name) == ImageFormat::kPng &&
                    stbi_is_16_bit_from_memory(bytes.data(), static_cast<int>(bytes.size()));
  Image image{info.height, info.width, channels,
              deep ? decode_16_bit(bytes, name, info, channels)
                   : decode_8_bit(bytes, name, info, channels)};
  return turned_upright(std::move(image), exif_orientation(bytes));
}

torch::Tensor to_tensor(const Image& image) {
  torch::Tensor out = torch::empty({image.channels, image.height, image.width}, torch::kUInt8);
  const int64_t plane = image.height * image.width;
  for (int64_t c = 0; c < image.channels; ++c) {
    uint8_t* to = out.data_ptr<uint8_t>() + c * plane;
    const uint8_t* from = image.pixels.data() + c;
    for (int64_t i = 0; i < plane; ++i) to[i] = from[i * image.channels];
  }
  return out;
}

std::vector<uint8_t> encode_png(const torch::Tensor& chw_u8) {
  const torch::Tensor hwc = interleaved(chw_u8);
  const int height = static_cast<int>(hwc.size(0)), width = static_cast<int>(hwc.size(1));
  const int channels = static_cast<int>(hwc.size(2));
  std::vector<uint8_t> bytes;
  const auto append = [](void* context, void* data, int size) {
    const auto* from = static_cast<const uint8_t*>(data);
    static_cast<std::vector<uint8_t>*>(context)->insert(
        static_cast<std::vector<uint8_t>*>(context)->end(), from, from + size);
  };
  const int ok = stbi_write_png_to_func(append, &bytes, width, height, channels,
                                        hwc.data_ptr<uint8_t>(), width * channels);
  TORCH_CHECK(ok, "PNG encoding failed for an image of size ", chw_u8.sizes());
  return bytes;
}

void write_png(const std::filesystem::path& path, const torch::Tensor& chw_u8) {
  replace_file(path, encode_png(chw_u8));
}

torch::Tensor make_grid(const torch::Tensor& nchw_u8, int64_t columns, int64_t padding,
                        uint8_t background) {
  TORCH_CHECK(nchw_u8.scalar_type() == torch::kUInt8 && nchw_u8.dim() == 4 && nchw_u8.size(0) > 0,
              "expected uint8 [N,C,H,W] with N > 0, got ", nchw_u8.scalar_type(), " ",
              nchw_u8.sizes());
  const int64_t count = nchw_u8.size(0), height = nchw_u8.size(2), width = nchw_u8.size(3);
  if (columns <= 0)
    columns = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(count))));
  columns = std::min(columns, count);
  const int64_t rows = (count + columns - 1) / columns;
  torch::Tensor grid = torch::full(
      {nchw_u8.size(1), rows * (height + padding) + padding, columns * (width + padding) + padding},
      background, nchw_u8.options());
  if (grid.size(0) == 2 || grid.size(0) == 4) grid[grid.size(0) - 1].fill_(255);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t y = padding + i / columns * (height + padding);
    const int64_t x = padding + i % columns * (width + padding);
    grid.slice(1, y, y + height).slice(2, x, x + width).copy_(nchw_u8[i]);
  }
  return grid;
}

torch::Tensor to_uint8(const torch::Tensor& x) {
  const auto type = x.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
  const torch::Tensor pixels = (x.detach().to(type) + 1) * 127.5;
  return pixels.round().clamp(0, 255).nan_to_num(0).to(torch::kUInt8);
}

}  // namespace ddpm::io
