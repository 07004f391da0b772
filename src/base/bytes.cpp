#include "ddpm/base/bytes.h"

#include <array>

#include <fmt/format.h>

namespace ddpm {

std::string format_bytes(uint64_t bytes) {
  constexpr std::array kUnits{"kB", "MB", "GB", "TB", "PB", "EB"};
  constexpr double kNextUnit = 999.5;  // what would round to 1000
  if (bytes < 1000) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1000.0;
  size_t unit = 0;
  for (; value >= kNextUnit && unit + 1 < kUnits.size(); ++unit) value /= 1000.0;
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f} {}", value, decimals, kUnits[unit]);
}

}  // namespace ddpm
