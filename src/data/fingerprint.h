#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ddpm::data {

/// Computes Dataset::fingerprint: a CRC32C of everything added, in order. Each string is preceded
/// by its length, so that "ab", "c" and "a", "bc" differ.
class Fingerprint {
 public:
  Fingerprint& add(std::string_view text);
  Fingerprint& add(const std::vector<std::string>& strings);
  Fingerprint& add(int64_t number);
  Fingerprint& add(std::span<const int64_t> numbers);
  std::string hex() const;

 private:
  void add_bytes(const void* bytes, size_t count);
  uint32_t sum_ = 0;
};

}  // namespace ddpm::data
