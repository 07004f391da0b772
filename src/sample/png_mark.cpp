#include "png_mark.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"

#include <algorithm>
#include <span>
#include <string_view>

#include <zlib.h>

namespace ddpm::sample {
namespace {

using std::string_view_literals::operator""sv;

// PNG specification, 11.3.4.3: keyword, zero, text. It stands behind the signature and IHDR.
constexpr std::string_view kChunk = "tEXtSoftware\0ddpm sample"sv;
constexpr size_t kPlace = 8 + 12 + 13;

void append_number(std::vector<uint8_t>& bytes, uint32_t value) {
  for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<uint8_t>(value >> shift));
}

std::vector<uint8_t> chunk() {
  std::vector<uint8_t> bytes;
  append_number(bytes, static_cast<uint32_t>(kChunk.size() - 4));  // less the type
  bytes.insert(bytes.end(), kChunk.begin(), kChunk.end());
  const auto* text = reinterpret_cast<const Bytef*>(kChunk.data());
  append_number(bytes, static_cast<uint32_t>(::crc32(0, text, kChunk.size())));
  return bytes;
}

}  // namespace

std::vector<uint8_t> marked(const std::vector<uint8_t>& png) {
  const std::vector<uint8_t> text = chunk();
  std::vector<uint8_t> result = png;
  result.insert(result.begin() + kPlace, text.begin(), text.end());
  return result;
}

bool is_marked(const std::filesystem::path& file) {
  const std::vector<uint8_t> text = chunk();
  try {
    const io::InputFile input(file);
    if (input.size() < kPlace + text.size()) return false;
    std::vector<uint8_t> bytes(text.size());
    input.read_at(kPlace, bytes);
    return bytes == text;
  } catch (const IoError&) {
    return false;
  }
}

}  // namespace ddpm::sample
