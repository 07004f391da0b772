#include "fingerprint.h"

#include "ddpm/io/checksum.h"

#include <fmt/format.h>

namespace ddpm::data {

void Fingerprint::add_bytes(const void* bytes, size_t count) {
  sum_ = io::crc32c({static_cast<const uint8_t*>(bytes), count}, sum_);
}

Fingerprint& Fingerprint::add(int64_t number) {
  add_bytes(&number, sizeof number);
  return *this;
}

Fingerprint& Fingerprint::add(std::span<const int64_t> numbers) {
  add(static_cast<int64_t>(numbers.size()));
  add_bytes(numbers.data(), numbers.size_bytes());
  return *this;
}

Fingerprint& Fingerprint::add(std::string_view text) {
  add(static_cast<int64_t>(text.size()));
  add_bytes(text.data(), text.size());
  return *this;
}

Fingerprint& Fingerprint::add(const std::vector<std::string>& strings) {
  add(static_cast<int64_t>(strings.size()));
  for (const std::string& text : strings) add(text);
  return *this;
}

std::string Fingerprint::hex() const { return fmt::format("{:08x}", sum_); }

}  // namespace ddpm::data
