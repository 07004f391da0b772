#include "base64.h"

#include <array>
#include <utility>

namespace ddpm::serve {
namespace {

constexpr std::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// The value of each byte as a digit; 64 for all others.
constexpr std::array<uint8_t, 256> digit_values() {
  std::array<uint8_t, 256> values{};
  values.fill(64);
  for (size_t i = 0; i < kDigits.size(); ++i)
    values[static_cast<unsigned char>(kDigits[i])] = static_cast<uint8_t>(i);
  return values;
}

}  // namespace

std::optional<std::vector<uint8_t>> from_base64(std::string_view text) {
  static constexpr std::array<uint8_t, 256> kValues = digit_values();
  if (text.size() % 4 != 0) return std::nullopt;
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  const std::string_view digits = text.substr(0, text.size() - padding);
  std::vector<uint8_t> bytes;
  bytes.reserve(text.size() / 4 * 3);
  uint32_t bits = 0;
  int count = 0;
  for (const unsigned char c : digits) {
    if (kValues[c] == 64) return std::nullopt;
    bits = bits << 6 | kValues[c];
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<uint8_t>(bits >> count));
  }
  const bool rest_is_zero = (bits & ((1u << count) - 1)) == 0;
  return rest_is_zero ? std::optional(std::move(bytes)) : std::nullopt;
}

}  // namespace ddpm::serve
