#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace ddpm::io {

/// Bytes of a PNG before its second chunk: the signature and IHDR.
inline constexpr size_t kPngBeginning = 8 + 12 + 13;

/// Appends the `count` low bytes of a number, the highest first.
void append_big_endian_(std::vector<uint8_t>& bytes, uint64_t value, size_t count);

/// Appends a chunk: length, type, data, CRC of type and data (PNG specification, 5.3). `type`: four
/// letters.
void append_png_chunk_(std::vector<uint8_t>& bytes, std::string_view type,
                       std::span<const uint8_t> data);

}  // namespace ddpm::io
