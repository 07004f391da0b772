#include "webp.h"

#include "ddpm/base/error.h"
#include "ddpm/io/bytes.h"
#include "exif.h"

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
    const size_t size = little_endian(bytes.subspan(at + 4, 4));
    if (size > bytes.size() - at - 8) return {};
    if (text_of(bytes.subspan(at, 4)) == "EXIF") {
      const auto block = bytes.subspan(at + 8, size);
      return begins_with(block, kExifSign) ? block.subspan(kExifSign.size()) : block;
    }
    at += 8 + size + size % 2;
  }
  return {};
}

}  // namespace ddpm::io
