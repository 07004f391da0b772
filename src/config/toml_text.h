#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <vector>

#include <toml++/toml.h>

// How values and keys read in messages and in the effective config.

namespace ddpm::config {

/// A TOML string in double quotes, on one line; bytes that are not UTF-8 read \xE9: see as_utf8.
std::string render(std::string_view text);
/// The shortest text that reads back as the same double, and as a TOML float rather than an
/// integer.
std::string render(double value);
std::string render(int64_t value);
std::string render(std::same_as<bool> auto value) { return value ? "true" : "false"; }

template <class T>
std::string render(const std::vector<T>& values) {
  std::string text = "[";
  for (size_t i = 0; i < values.size(); ++i) text += (i ? ", " : "") + render(values[i]);
  return text + "]";
}

/// A value as written and its type: `1.5 (floating-point)`.
std::string describe(const toml::node& node);

}  // namespace ddpm::config
