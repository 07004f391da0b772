#include "signature.h"

#include "ddpm/io/bytes.h"
#include "ddpm/io/foreign_text.h"

#include <array>
#include <string>

namespace ddpm::io {
namespace {

struct Known {
  size_t at;
  std::string_view bytes;
  Signature signature;
};

constexpr std::string_view kConvert = "convert it to PNG, JPEG or WebP";
constexpr std::string_view kFetch = "fetch the file itself";
constexpr std::string_view kUnpack = "unpack it";
using namespace std::string_view_literals;

constexpr std::array kKnown = {
    Known{0, "GIF8", {"a GIF image", kConvert}},
    Known{0, "II*\0"sv, {"a TIFF image", kConvert}},
    Known{0, "MM\0*"sv, {"a TIFF image", kConvert}},
    Known{0, "8BPS", {"a Photoshop file", kConvert}},
    Known{0, "\xFF\x0A"sv, {"a JPEG XL image", kConvert}},
    Known{4, "JXL \r\n", {"a JPEG XL image", kConvert}},
    Known{4, "jP  \r\n", {"a JPEG 2000 image", kConvert}},
    Known{4, "ftypavi", {"an AVIF image", kConvert}},
    Known{4, "ftyphei", {"a HEIC image", kConvert}},
    Known{4, "ftyphev", {"a HEIC image", kConvert}},
    Known{4, "ftypmif1", {"a HEIF image", kConvert}},
    Known{4, "ftyp", {"a video (MPEG-4)", "take single images from it"}},
    Known{0, "v/1\x01", {"an OpenEXR image", kConvert}},
    Known{0, "#?RADIANCE", {"a Radiance HDR image", kConvert}},
    Known{0, "\0\0\1\0"sv, {"an icon (ICO)", kConvert}},
    Known{0, "%PDF", {"a PDF document", kConvert}},
    Known{0, "PK\3\4", {"a zip archive", kUnpack}},
    Known{0, "\x1F\x8B", {"a gzip archive", kUnpack}},
    Known{0, "7z\xBC\xAF", {"a 7z archive", kUnpack}},
    Known{0, "Rar!", {"a RAR archive", kUnpack}},
    Known{257, "ustar", {"a tar archive", kUnpack}},
};

}  // namespace

std::optional<Signature> signature_of(std::span<const uint8_t> beginning) {
  for (const Known& known : kKnown) {
    if (beginning.size() < known.at + known.bytes.size()) continue;
    if (begins_with(beginning.subspan(known.at), bytes_of(known.bytes))) return known.signature;
  }
  const std::string text = first_letters(beginning, 256);
  if (text.starts_with("<svg") ||
      (text.starts_with("<?xml") && text.find("<svg") != std::string::npos))
    return Signature{"an SVG drawing", kConvert};
  if (text.starts_with("<?xml")) return Signature{"an XML document", kFetch};
  return std::nullopt;
}

}  // namespace ddpm::io
