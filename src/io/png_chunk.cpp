#include "png_chunk.h"

#include "ddpm/io/bytes.h"

#include <zlib.h>

namespace ddpm::io {

void append_big_endian_(std::vector<uint8_t>& bytes, uint64_t value, size_t count) {
  for (size_t i = count; i-- > 0;) bytes.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

void append_png_chunk_(std::vector<uint8_t>& bytes, std::string_view type,
                       std::span<const uint8_t> data) {
  append_big_endian_(bytes, data.size(), 4);
  const size_t begin = bytes.size();
  const std::span<const uint8_t> letters = bytes_of(type);
  bytes.insert(bytes.end(), letters.begin(), letters.end());
  bytes.insert(bytes.end(), data.begin(), data.end());
  append_big_endian_(bytes, ::crc32_z(0, bytes.data() + begin, bytes.size() - begin), 4);
}

}  // namespace ddpm::io
