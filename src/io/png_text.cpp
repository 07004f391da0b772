#include "ddpm/base/error.h"
#include "ddpm/io/bytes.h"
#include "ddpm/io/file.h"
#include "ddpm/io/png.h"
#include "image_format.h"
#include "png_chunk.h"

#include <array>
#include <optional>
#include <string_view>

#include <c10/util/Exception.h>
#include <zlib.h>

namespace ddpm::io {
namespace {

constexpr size_t kSignatureBytes = 8;
constexpr size_t kLongestText = size_t{1} << 20;

std::string utf8_of_latin1(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte < 0x80) {
      result += c;
    } else {
      result += static_cast<char>(0xC0 | byte >> 6);
      result += static_cast<char>(0x80 | (byte & 0x3F));
    }
  }
  return result;
}

// A zlib stream, unpacked.
std::optional<std::string> unpacked(std::string_view packed) {
  std::string text(kLongestText, '\0');
  uLongf size = text.size();
  if (::uncompress(reinterpret_cast<Bytef*>(text.data()), &size, bytes_of(packed).data(),
                   static_cast<uLong>(packed.size())) != Z_OK)
    return std::nullopt;
  text.resize(size);
  return text;
}

// Takes what precedes the next zero off `rest`, and the zero. None if there is no zero.
std::optional<std::string_view> taken_(std::string_view& rest) {
  const size_t zero = rest.find('\0');
  if (zero == std::string_view::npos) return std::nullopt;
  const std::string_view part = rest.substr(0, zero);
  rest.remove_prefix(zero + 1);
  return part;
}

// iTXt behind its keyword: packed or not, method, language, translated keyword, text.
std::optional<std::string> international_text(std::string_view rest) {
  if (rest.size() < 2) return std::nullopt;
  const bool packed = rest[0] != 0;
  rest.remove_prefix(2);
  if (!taken_(rest) || !taken_(rest)) return std::nullopt;
  return packed ? unpacked(rest) : std::string(rest);
}

std::optional<PngText> text_of_chunk(std::string_view type, std::string_view data) {
  const auto keyword = taken_(data);
  if (!keyword || keyword->empty() || data.size() > kLongestText) return std::nullopt;
  std::optional<std::string> text;
  if (type == "tEXt") text = utf8_of_latin1(data);
  if (type == "iTXt") text = international_text(data);
  if (type == "zTXt" && !data.empty()) {  // the first byte is the method
    text = unpacked(data.substr(1));
    if (text) text = utf8_of_latin1(*text);
  }
  if (!text) return std::nullopt;
  return PngText{utf8_of_latin1(*keyword), *text};
}

}  // namespace

std::vector<uint8_t> with_png_texts(const std::vector<uint8_t>& png,
                                    const std::vector<PngText>& texts) {
  std::vector<uint8_t> chunks;
  for (const PngText& text : texts) {
    TORCH_CHECK(!text.keyword.empty() && text.keyword.size() < 80, "a keyword of ",
                text.keyword.size(), " bytes");
    using std::string_view_literals::operator""sv;
    const std::string data = text.keyword + std::string("\0\0\0\0\0"sv) + text.text;
    append_png_chunk_(chunks, "iTXt", bytes_of(std::string_view(data)));
  }
  std::vector<uint8_t> result = png;
  result.insert(result.begin() + kPngBeginning, chunks.begin(), chunks.end());
  return result;
}

std::vector<PngText> png_texts(std::span<const uint8_t> bytes, const std::string& name) {
  if (image_format(bytes, name) != ImageFormat::kPng) throw IoError(name, "is not a PNG");
  if (const std::string damage = image_damage(bytes, ImageFormat::kPng); !damage.empty())
    throw IoError(name, "is not a readable PNG: it " + damage);
  std::vector<PngText> texts;
  for (size_t at = kSignatureBytes; bytes.size() - at >= 12;) {
    const auto size = static_cast<size_t>(big_endian(bytes.subspan(at).first<4>()));
    const std::string_view type = text_of(bytes.subspan(at + 4, 4));
    if (type == "IEND") break;
    const auto sum = big_endian(bytes.subspan(at + 8 + size).first<4>());
    if (::crc32_z(0, &bytes[at + 4], size + 4) == sum)
      if (auto text = text_of_chunk(type, text_of(bytes.subspan(at + 8, size))))
        texts.push_back(std::move(*text));
    at += 12 + size;
  }
  return texts;
}

bool begins_like_png(const std::filesystem::path& file) {
  try {
    const InputFile input(file);
    std::array<uint8_t, kSignatureBytes> beginning{};
    if (input.size() < beginning.size()) return false;
    input.read_at(0, beginning);
    return image_format(beginning, "") == ImageFormat::kPng;
  } catch (const IoError&) {
    return false;
  }
}

}  // namespace ddpm::io
