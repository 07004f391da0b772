#include "png_mark.h"

#include "ddpm/base/error.h"
#include "ddpm/io/bytes.h"
#include "ddpm/io/file.h"
#include "ddpm/io/png_chunk.h"

#include <algorithm>
#include <span>
#include <string_view>

namespace ddpm::sample {
namespace {

using std::string_view_literals::operator""sv;

// PNG specification, 11.3.4.3: keyword, zero, text. The chunk stands behind the signature and IHDR.
constexpr std::string_view kText = "Software\0ddpm sample"sv;

std::vector<uint8_t> chunk() {
  std::vector<uint8_t> bytes;
  io::append_png_chunk_(bytes, "tEXt", io::bytes_of(kText));
  return bytes;
}

}  // namespace

std::vector<uint8_t> marked(const std::vector<uint8_t>& png) {
  const std::vector<uint8_t> text = chunk();
  std::vector<uint8_t> result = png;
  result.insert(result.begin() + io::kPngBeginning, text.begin(), text.end());
  return result;
}

bool is_marked(const std::filesystem::path& file) {
  const std::vector<uint8_t> text = chunk();
  try {
    const io::InputFile input(file);
    if (input.size() < io::kPngBeginning + text.size()) return false;
    std::vector<uint8_t> bytes(text.size());
    input.read_at(io::kPngBeginning, bytes);
    return bytes == text;
  } catch (const IoError&) {
    return false;
  }
}

}  // namespace ddpm::sample
