#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace ddpm::io {

/// CRC32C (Castagnoli; RFC 3720, section 12.1) of `bytes`, continued from `crc`, so that
/// crc32c(ab) == crc32c(b, crc32c(a)). By the processor's instruction where it has one.
uint32_t crc32c(std::span<const uint8_t> bytes, uint32_t crc = 0);

inline uint32_t crc32c(std::string_view text) {
  return crc32c({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

/// The same by tables alone: what crc32c falls back to.
uint32_t crc32c_by_table(std::span<const uint8_t> bytes, uint32_t crc = 0);

}  // namespace ddpm::io
