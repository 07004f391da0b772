#include "webp.h"

#include "ddpm/base/error.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <webp/decode.h>

namespace ddpm::io {

std::optional<ImageInfo> webp_header(std::span<const uint8_t> beginning) {
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(beginning.data(), beginning.size(), &features) != VP8_STATUS_OK)
    return std::nullopt;
  return ImageInfo{features.height, features.width, features.has_alpha ? 4 : 3};
}

Image decode_webp(std::span<const uint8_t> bytes, const std::string& name) {
  WebPBitstreamFeatures features;
  const bool known = WebPGetFeatures(bytes.data(), bytes.size(), &features) == VP8_STATUS_OK;
  if (known && features.has_animation)
    throw IoError(name, "is an animated WebP; convert it to single images, or remove it");
  bool done = false;
  Image image;
  if (known) {
    image = {features.height, features.width, features.has_alpha ? 4 : 3, {}};
    image.pixels.resize(image.height * image.width * image.channels);
    const int stride = static_cast<int>(image.width * image.channels);
    const auto decode = features.has_alpha ? WebPDecodeRGBAInto : WebPDecodeRGBInto;
    done = decode(bytes.data(), bytes.size(), image.pixels.data(), image.pixels.size(), stride) !=
           nullptr;
  }
  if (!done)
    throw IoError(name,
                  "is not a readable WebP (damaged on the way?); remove the file or restore it");
  return image;
}

// "RIFF", size, "WEBP", then chunks of (name, size, data), each padded to an even size.
std::span<const uint8_t> exif_of_webp(std::span<const uint8_t> bytes) {
  for (size_t at = 12; at + 8 <= bytes.size();) {
    const uint8_t* p = bytes.data() + at;
    const size_t size = size_t{p[4]} | size_t{p[5]} << 8 | size_t{p[6]} << 16 | size_t{p[7]} << 24;
    if (size > bytes.size() - at - 8) return {};
    if (std::string_view(reinterpret_cast<const char*>(p), 4) == "EXIF") {
      // Some writers put a JPEG's sign before it.
      constexpr std::array<uint8_t, 6> kSign = {'E', 'x', 'i', 'f', 0, 0};
      const auto block = bytes.subspan(at + 8, size);
      const bool has_sign =
          block.size() >= kSign.size() && std::equal(kSign.begin(), kSign.end(), block.begin());
      return has_sign ? block.subspan(kSign.size()) : block;
    }
    at += 8 + size + size % 2;
  }
  return {};
}

}  // namespace ddpm::io
