#include "image_format.h"

#include "ddpm/base/text.h"
#include "ddpm/io/bytes.h"
#include "ddpm/io/foreign_text.h"
#include "signature.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <string_view>

#include <zlib.h>

namespace ddpm::io {
namespace {

constexpr std::string_view kPngSignature = "\x89PNG\r\n\x1A\n";

// Chunks of (length, type, data, CRC-32 of type and data), the last of type IEND (PNG 1.2,
// section 3.2).
std::string png_damage(std::span<const uint8_t> bytes) {
  for (size_t at = kPngSignature.size(); bytes.size() - at >= 12;) {
    const uint64_t length = big_endian(bytes.subspan(at, 4));
    const uint8_t* type = &bytes[at + 4];
    if (length + 12 > bytes.size() - at) return "is cut short";
    const bool critical = std::isupper(type[0]) != 0;
    const uint64_t sum = big_endian(bytes.subspan(at + 8 + length, 4));
    if (critical && crc32(0, type, static_cast<uInt>(length + 4)) != sum) {
      return "fails its checksum";
    }
    if (std::memcmp(type, "IEND", 4) == 0) return "";
    at += length + 12;
  }
  return "is cut short";
}

// Segments of (0xFF, marker, length, data) and, after some of them, entropy-coded data up to the
// next marker, in which 0xFF is followed by 0 or a restart marker. The last marker is 0xD9 (ITU
// T.81, B.1).
std::string jpeg_damage(std::span<const uint8_t> bytes) {
  for (size_t at = 2;;) {
    at = std::find(bytes.begin() + at, bytes.end(), 0xFF) - bytes.begin();
    while (at < bytes.size() && bytes[at] == 0xFF) ++at;  // any number of fill bytes
    if (at >= bytes.size()) return "is cut short";
    const uint8_t marker = bytes[at++];
    if (marker == 0xD9) return "";
    if (marker == 0x00 || (marker >= 0xD0 && marker <= 0xD7)) continue;
    if (bytes.size() - at < 2) return "is cut short";
    const size_t length = big_endian(bytes.subspan(at, 2));
    if (length < 2 || length > bytes.size() - at) return "is cut short";
    at += length;
  }
}

// "RIFF", the size of what follows, "WEBP".
std::string webp_damage(std::span<const uint8_t> bytes) {
  return little_endian(bytes.subspan(4, 4)) > bytes.size() - 8 ? "is cut short" : "";
}

// The file size in the header; some writers set it to 0.
std::string bmp_damage(std::span<const uint8_t> bytes) {
  return bytes.size() < 26 || little_endian(bytes.subspan(2, 4)) > bytes.size() ? "is cut short"
                                                                                : "";
}

struct PnmHeader {
  uint64_t width = 0, height = 0, maximum = 0;
  size_t end = 2;  // after the last digit
};

// "P5 width height maxval", comments allowed. Digits are read until a number passes kMaxPnmNumber.
constexpr uint64_t kMaxPnmNumber = uint64_t{1} << 24;

PnmHeader pnm_header(std::span<const uint8_t> bytes) {
  PnmHeader header;
  size_t& at = header.end;
  for (uint64_t* number : {&header.width, &header.height, &header.maximum}) {
    while (at < bytes.size() && (std::isspace(bytes[at]) || bytes[at] == '#')) {
      if (bytes[at] == '#') {
        while (at < bytes.size() && bytes[at] != '\n' && bytes[at] != '\r') ++at;
      } else {
        ++at;
      }
    }
    while (at < bytes.size() && std::isdigit(bytes[at]) && *number < kMaxPnmNumber) {
      *number = 10 * *number + (bytes[at++] - '0');
    }
  }
  return header;
}

// One white space and the samples follow the header.
std::string pnm_damage(std::span<const uint8_t> bytes) {
  const PnmHeader header = pnm_header(bytes);
  if (header.maximum != 255)
    return "has a maximum sample value of " + std::to_string(header.maximum) + ", not 255";
  const uint64_t samples = header.width * header.height * (bytes[1] == '6' ? 3 : 1);
  return header.end + 1 + samples > bytes.size() ? "is cut short" : "";
}

// Uncompressed true-colour or grey (types 2, 3): header of 18 bytes, identification, palette,
// samples.
std::string tga_damage(std::span<const uint8_t> bytes) {
  if (bytes.size() < 18) return "is cut short";
  if (bytes[2] != 2 && bytes[2] != 3) return "";
  const auto word = [&](size_t at) { return little_endian(bytes.subspan(at, 2)); };
  const uint64_t palette = bytes[1] ? word(5) * ((bytes[7] + 7) / 8) : 0;
  const uint64_t samples = word(12) * word(14) * ((bytes[16] + 7) / 8);
  return 18 + bytes[0] + palette + samples > bytes.size() ? "is cut short" : "";
}

}  // namespace

ImageFormat image_format(std::span<const uint8_t> bytes, const std::string& name) {
  const auto begins = [&](std::string_view sign) { return begins_with(bytes, bytes_of(sign)); };
  if (begins(kPngSignature)) return ImageFormat::kPng;
  if (begins("\xFF\xD8\xFF")) return ImageFormat::kJpeg;
  if (begins("RIFF") && bytes.size() >= 12 && text_of(bytes.subspan(8, 4)) == "WEBP")
    return ImageFormat::kWebp;
  if (begins("BM")) return ImageFormat::kBmp;
  if (begins("P5") || begins("P6")) return ImageFormat::kPnm;
  const bool tga =
      lowercase(name).ends_with(".tga") && !signature_of(bytes) && foreign_text(bytes).empty();
  return tga ? ImageFormat::kTga : ImageFormat::kUnknown;
}

bool header_is_safe(std::span<const uint8_t> beginning, ImageFormat format) {
  if (format != ImageFormat::kPnm) return true;
  const PnmHeader header = pnm_header(beginning);
  return std::max({header.width, header.height, header.maximum}) < kMaxPnmNumber;
}

std::string image_damage(std::span<const uint8_t> bytes, ImageFormat format) {
  switch (format) {
    case ImageFormat::kPng:
      return png_damage(bytes);
    case ImageFormat::kJpeg:
      return jpeg_damage(bytes);
    case ImageFormat::kWebp:
      return webp_damage(bytes);
    case ImageFormat::kBmp:
      return bmp_damage(bytes);
    case ImageFormat::kPnm:
      return pnm_damage(bytes);
    case ImageFormat::kTga:
      return tga_damage(bytes);
    case ImageFormat::kUnknown:
      break;
  }
  return "";
}

}  // namespace ddpm::io
