#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace ddpm::pipeline {

/// The whole number that all of the text is, 0 or more; none if it is not one.
inline std::optional<int64_t> whole_number(std::string_view text) {
  int64_t number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && number >= 0 ? std::optional(number) : std::nullopt;
}

}  // namespace ddpm::pipeline
