#include "ddpm/io/image.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "ddpm/io/foreign_text.h"
#include "exif.h"
#include "image_format.h"
#include "jpeg.h"
#include "png_16_bit.h"
#include "signature.h"
#include "stb_limit.h"
#include "webp.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <stb_image.h>
#include <stb_image_write.h>
#include <torch/types.h>

namespace ddpm::io {
namespace {

constexpr const char* kFormats = "PNG, JPEG, WebP, BMP, PGM/PPM or (named .tga) TGA";

// Throws IoError unless the bytes are safe for a decoder: of a known format, complete, and shorter
// than 2 GiB.
ImageFormat format_of_whole(std::span<const uint8_t> bytes, const std::string& name) {
  if (bytes.empty()) throw IoError(name, "is empty; remove the file or restore it");
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
    throw IoError(name, "is larger than 2 GiB, too large for an image");
  }
  const ImageFormat format = image_format(bytes, name);
  if (format == ImageFormat::kUnknown) {
    refuse_foreign_text(name, bytes);
    if (const auto found = signature_of(bytes))
      throw IoError(name, fmt::format("is {}; {}, or remove it", found->what, found->way_out));
    throw IoError(name, fmt::format("is not a {} image; remove the file or convert it", kFormats));
  }
  const std::string damage = image_damage(bytes, format);
  if (!damage.empty()) {
    throw IoError(name, fmt::format("is not a readable image: it {} (truncated or damaged on the "
                                    "way?); remove the file or restore it",
                                    damage));
  }
  return format;
}

[[noreturn]] void fail_unreadable(const std::string& name) {
  const char* reason = stbi_failure_reason();
  throw IoError(name,
                fmt::format("is not a readable image (truncated? decoder says: {}); remove the "
                            "file or restore it",
                            reason ? reason : "unknown"));
}

// Formats that stb_image does not decode.
bool has_own_decoder(ImageFormat format) {
  return format == ImageFormat::kJpeg || format == ImageFormat::kWebp;
}

// As stored. None if the bytes are too few, or not of an image.
std::optional<ImageInfo> stored_info(std::span<const uint8_t> bytes, ImageFormat format) {
  if (format == ImageFormat::kUnknown) return std::nullopt;
  if (format == ImageFormat::kJpeg) return jpeg_header(bytes);
  if (format == ImageFormat::kWebp) return webp_header(bytes);
  if (!header_is_safe(bytes, format)) return std::nullopt;
  int width = 0, height = 0, channels = 0;
  const int size = static_cast<int>(bytes.size());
  if (!stbi_info_from_memory(bytes.data(), size, &width, &height, &channels)) return std::nullopt;
  const bool deep =
      format == ImageFormat::kPng && stbi_is_16_bit_from_memory(bytes.data(), size) != 0;
  return ImageInfo{height, width, channels, deep};
}

ImageInfo read_info(std::span<const uint8_t> bytes, ImageFormat format, const std::string& name) {
  const auto info = stored_info(bytes, format);
  if (!info && has_own_decoder(format))
    throw IoError(name,
                  "is not a readable image: its header is damaged; remove the file or restore it");
  if (!info) fail_unreadable(name);
  if (info->height <= 0 || info->width <= 0) throw IoError(name, "has no pixels; remove the file");
  return *info;
}

// Decoders give the image as stored.
ImageInfo upright(ImageInfo info, int orientation) {
  if (swaps_sides(orientation)) std::swap(info.height, info.width);
  return info;
}

// Grey <-> RGB by stb_image's integer weights, so that all decoders give the same grey image.
// Alpha, the last of 2 or 4 channels, is kept, dropped, or 255.
Image converted(Image from, int64_t channels) {
  if (from.channels == channels) return from;
  Image to{from.height, from.width, channels, {}};
  const int64_t count = from.height * from.width;
  to.pixels.resize(count * channels);
  const bool grey_in = from.channels < 3, alpha_in = from.channels % 2 == 0;
  const uint8_t* p = from.pixels.data();
  uint8_t* q = to.pixels.data();
  for (int64_t i = 0; i < count; ++i, p += from.channels, q += channels) {
    const int r = p[0], g = grey_in ? r : p[1], b = grey_in ? r : p[2];
    if (channels < 3) {
      q[0] = static_cast<uint8_t>(grey_in ? r : (77 * r + 150 * g + 29 * b) >> 8);
    } else {
      q[0] = static_cast<uint8_t>(r), q[1] = static_cast<uint8_t>(g),
      q[2] = static_cast<uint8_t>(b);
    }
    if (channels % 2 == 0) q[channels - 1] = alpha_in ? p[from.channels - 1] : 255;
  }
  return to;
}

// Largest block that stb_image may need: all pixels at 8 or 16 bits, twice while it grows.
size_t stb_bytes(std::span<const uint8_t> bytes, const ImageInfo& info) {
  const auto pixels = static_cast<size_t>(info.height * info.width);
  return std::max(2 * bytes.size(), pixels * 4 * (info.deep ? 2 : 1)) * 2 + (size_t{1} << 20);
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

// The values [H,W,C] of an image of 16 bits per channel, each turned into a T.
template <class T, class Conversion>
void decode_16_bit(std::span<const uint8_t> bytes, const std::string& name, const ImageInfo& info,
                   int channels, T* to, const Conversion& converted) {
  int width = 0, height = 0, in_file = 0;
  const std::unique_ptr<stbi_us, void (*)(void*)> pixels(
      stbi_load_16_from_memory(bytes.data(), static_cast<int>(bytes.size()), &width, &height,
                               &in_file, channels),
      stbi_image_free);
  if (!pixels || width != info.width || height != info.height) fail_unreadable(name);
  const size_t count = static_cast<size_t>(width) * height * channels;
  for (size_t i = 0; i < count; ++i) to[i] = converted(pixels.get()[i]);
}

std::vector<uint8_t> decode_to_8_bit(std::span<const uint8_t> bytes, const std::string& name,
                                     const ImageInfo& info, int channels) {
  if (!info.deep) return decode_8_bit(bytes, name, info, channels);
  std::vector<uint8_t> rounded(static_cast<size_t>(info.width * info.height) * channels);
  decode_16_bit(bytes, name, info, channels, rounded.data(),
                [](uint32_t v) { return static_cast<uint8_t>((v + 128u) / 257u); });
  return rounded;
}

// [C,H,W] -> contiguous [H,W,C] on the CPU.
torch::Tensor interleaved(const torch::Tensor& pixels) {
  const bool known = pixels.scalar_type() == torch::kUInt8 || pixels.scalar_type() == torch::kInt;
  TORCH_CHECK(known && pixels.dim() == 3, "expected uint8 or int32 [C,H,W], got ",
              pixels.scalar_type(), " ", pixels.sizes());
  const int64_t channels = pixels.size(0);
  TORCH_CHECK(channels >= 1 && channels <= kMaxImageChannels, "a PNG has 1 to 4 channels, not ",
              channels);
  TORCH_CHECK(pixels.numel() > 0, "cannot write an image of size ", pixels.sizes());
  return pixels.cpu().permute({1, 2, 0}).contiguous();
}

// An encoded image that may be decoded.
struct Decodable {
  ImageFormat format;
  ImageInfo info;  // as stored
};

Decodable decodable(std::span<const uint8_t> bytes, const std::string& name, int channels,
                    int64_t max_pixels) {
  TORCH_CHECK(channels >= 0 && channels <= kMaxImageChannels, "channels must be 0 to 4, not ",
              channels);
  const ImageFormat format = format_of_whole(bytes, name);
  const ImageInfo info = read_info(bytes, format, name);
  if (info.width <= max_pixels / info.height) return {format, info};
  throw IoError(name,
                fmt::format("has {} x {} pixels, more than the {:.4g} megapixels that are allowed; "
                            "scale it down or remove it",
                            info.height, info.width, 1e-6 * static_cast<double>(max_pixels)));
}

}  // namespace

ImageInfo image_info(std::span<const uint8_t> bytes, const std::string& name) {
  const ImageFormat format = format_of_whole(bytes, name);
  return upright(read_info(bytes, format, name), exif_orientation(bytes));
}

std::optional<ImageInfo> image_header(std::span<const uint8_t> beginning, const std::string& name) {
  const size_t limit = static_cast<size_t>(std::numeric_limits<int>::max());
  beginning = beginning.first(std::min(beginning.size(), limit));
  const auto info = stored_info(beginning, image_format(beginning, name));
  if (!info || info->height <= 0 || info->width <= 0) return std::nullopt;
  return upright(*info, exif_orientation(beginning));
}

Image decode_image(std::span<const uint8_t> bytes, const std::string& name, int channels,
                   int64_t max_pixels) {
  const auto [format, info] = decodable(bytes, name, channels, max_pixels);
  if (channels == 0) channels = static_cast<int>(info.channels);
  Image image;
  if (format == ImageFormat::kJpeg) {
    image = converted(decode_jpeg(bytes, name), channels);
  } else if (format == ImageFormat::kWebp) {
    image = converted(decode_webp(bytes, name), channels);
  } else {
    const StbLimit limit(stb_bytes(bytes, info));
    image = {info.height, info.width, channels, decode_to_8_bit(bytes, name, info, channels)};
  }
  return apply_orientation(std::move(image), exif_orientation(bytes));
}

torch::Tensor decode_levels(std::span<const uint8_t> bytes, const std::string& name, int channels,
                            int64_t max_pixels) {
  const ImageInfo info = decodable(bytes, name, channels, max_pixels).info;
  if (!info.deep) return to_tensor(decode_image(bytes, name, channels, max_pixels));
  if (channels == 0) channels = static_cast<int>(info.channels);
  const StbLimit limit(stb_bytes(bytes, info));
  const torch::Tensor levels = torch::empty({info.height, info.width, channels});
  decode_16_bit(bytes, name, info, channels, levels.data_ptr<float>(),
                [](uint32_t v) { return static_cast<float>(v) / 257.0f; });
  return levels.permute({2, 0, 1}).contiguous();
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

std::vector<uint8_t> encode_png(const torch::Tensor& pixels) {
  const torch::Tensor hwc = interleaved(pixels);
  if (hwc.scalar_type() == torch::kInt) return encode_png_16_bit(hwc);
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
  TORCH_CHECK(ok, "PNG encoding failed for an image of size ", pixels.sizes());
  return bytes;
}

void write_png(const std::filesystem::path& path, const torch::Tensor& pixels) {
  replace_file(path, encode_png(pixels));
}

}  // namespace ddpm::io
