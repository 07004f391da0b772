#include "ddpm/base/error.h"
#include "ddpm/io/bytes.h"
#include "ddpm/io/file.h"
#include "ddpm/io/image.h"
#include "ddpm/io/png.h"
#include "png_chunk.h"

#include <algorithm>
#include <string>

namespace ddpm::io {
namespace {

using std::string_view_literals::operator""sv;

// PNG specification, 11.3.4.3: keyword, zero, text. The chunk stands behind the signature and IHDR.
constexpr std::string_view kType = "tEXt"sv, kBeginning = "Software\0ddpm "sv;

}  // namespace

std::vector<uint8_t> marked(const std::vector<uint8_t>& png, std::string_view command) {
  const std::string text = std::string("Software") + '\0' + std::string(command);
  std::vector<uint8_t> chunk;
  append_png_chunk_(chunk, kType, bytes_of(text));
  std::vector<uint8_t> result = png;
  result.insert(result.begin() + kPngBeginning, chunk.begin(), chunk.end());
  return result;
}

bool is_marked(const std::filesystem::path& file) {
  constexpr size_t kLength = 4;  // of the text, before its type
  try {
    const InputFile input(file);
    std::vector<uint8_t> bytes(kType.size() + kBeginning.size());
    if (input.size() < kPngBeginning + kLength + bytes.size()) return false;
    input.read_at(kPngBeginning + kLength, bytes);
    return text_of(bytes) == std::string(kType) + std::string(kBeginning);
  } catch (const IoError&) {
    return false;
  }
}

void write_marked_png(const std::filesystem::path& file, const torch::Tensor& chw_u8,
                      std::string_view command) {
  replace_file(file, marked(encode_png(chw_u8), command));
}

}  // namespace ddpm::io
