#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace ddpm::io {

inline std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

/// The bytes of the values, as this machine stores them.
template <class T, size_t N>
std::span<const uint8_t> bytes_of(std::span<T, N> values) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()};
}

inline std::string_view text_of(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline bool begins_with(std::span<const uint8_t> bytes, std::span<const uint8_t> beginning) {
  return bytes.size() >= beginning.size() &&
         std::equal(beginning.begin(), beginning.end(), bytes.begin());
}

/// The unsigned number in at most 8 bytes, least significant byte first.
template <size_t N>
uint64_t little_endian(std::span<const uint8_t, N> bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) value |= uint64_t{bytes[i]} << (8 * i);
  return value;
}

/// The unsigned number in at most 8 bytes, most significant byte first.
template <size_t N>
uint64_t big_endian(std::span<const uint8_t, N> bytes) {
  uint64_t value = 0;
  for (const uint8_t byte : bytes) value = value << 8 | byte;
  return value;
}

/// Appends the low `count` bytes of `value`, least significant byte first. Beyond 8: zeros.
inline void append_little_endian(std::string& out, uint64_t value, size_t count) {
  for (size_t i = 0; i < count; ++i, value >>= 8) out += static_cast<char>(value & 0xFF);
}

}  // namespace ddpm::io
