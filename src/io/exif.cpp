#include "exif.h"

#include "ddpm/io/bytes.h"
#include "webp.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace ddpm::io {
namespace {

constexpr uint16_t kOrientationTag = 0x0112;
constexpr uint16_t kShort = 3;  // the tag's type: 16 bits, unsigned

// Numbers at any position of a TIFF block, in its byte order; none beyond its end.
class Tiff {
 public:
  explicit Tiff(std::span<const uint8_t> bytes)
      : bytes_(bytes), little_(!bytes.empty() && bytes[0] == 'I') {}
  std::optional<uint16_t> word(size_t at) const {
    if (at > bytes_.size() || bytes_.size() - at < 2) return std::nullopt;
    return static_cast<uint16_t>(number(bytes_.subspan(at, 2)));
  }
  std::optional<uint32_t> double_word(size_t at) const {
    if (at > bytes_.size() || bytes_.size() - at < 4) return std::nullopt;
    return static_cast<uint32_t>(number(bytes_.subspan(at, 4)));
  }

 private:
  uint64_t number(std::span<const uint8_t> bytes) const {
    return little_ ? little_endian(bytes) : big_endian(bytes);
  }

  std::span<const uint8_t> bytes_;
  bool little_;
};

// A TIFF header ("II" or "MM", 42, position of the first directory), then a directory: the number of
// entries, and 12 bytes each (tag, type, count, value).
int orientation_in_tiff(std::span<const uint8_t> bytes) {
  const Tiff tiff(bytes);
  const bool signed_ok = bytes.size() > 2 && bytes[0] == bytes[1] &&
                         (bytes[0] == 'I' || bytes[0] == 'M') && tiff.word(2) == uint16_t{42};
  const auto directory = tiff.double_word(4);
  if (!signed_ok || !directory) return 1;
  const size_t entries = tiff.word(*directory).value_or(0);
  for (size_t i = 0; i < entries; ++i) {
    const size_t at = size_t{*directory} + 2 + 12 * i;
    const auto tag = tiff.word(at);
    if (!tag) return 1;
    if (*tag != kOrientationTag) continue;
    const auto value = tiff.word(at + 8);
    const bool valid = tiff.word(at + 2) == kShort && value && *value >= 1 && *value <= 8;
    return valid ? *value : 1;
  }
  return 1;
}

}  // namespace

// In a JPEG: walks the segments before the image data to the APP1 that begins with "Exif".
int exif_orientation(std::span<const uint8_t> jpeg) {
  if (!jpeg.empty() && jpeg[0] == 'R') return orientation_in_tiff(exif_of_webp(jpeg));
  if (jpeg.size() < 2 || jpeg[0] != 0xFF || jpeg[1] != 0xD8) return 1;
  for (size_t at = 2; jpeg.size() - at >= 4 && jpeg[at] == 0xFF;) {
    const uint8_t marker = jpeg[at + 1];
    if (marker == 0xFF) {  // a fill byte
      ++at;
      continue;
    }
    const size_t length = big_endian(jpeg.subspan(at + 2, 2));
    if (marker == 0xDA || marker == 0xD9 || length < 2 || length > jpeg.size() - at - 2) return 1;
    const auto data = jpeg.subspan(at + 4, length - 2);
    if (marker == 0xE1 && data.size() > kExifSign.size() && begins_with(data, kExifSign))
      return orientation_in_tiff(data.subspan(kExifSign.size()));
    at += 2 + length;
  }
  return 1;
}

Image apply_orientation(Image stored, int orientation) {
  if (orientation == 1) return stored;
  const bool swap = swaps_sides(orientation);
  const bool from_right =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_below =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image out{swap ? stored.width : stored.height, swap ? stored.height : stored.width,
            stored.channels, std::vector<uint8_t>(stored.pixels.size())};
  uint8_t* to = out.pixels.data();
  for (int64_t y = 0; y < out.height; ++y) {
    for (int64_t x = 0; x < out.width; ++x, to += out.channels) {
      int64_t row = swap ? x : y, column = swap ? y : x;
      if (from_below) row = stored.height - 1 - row;
      if (from_right) column = stored.width - 1 - column;
      std::copy_n(&stored.pixels[(row * stored.width + column) * stored.channels], out.channels,
                  to);
    }
  }
  return out;
}

}  // namespace ddpm::io
