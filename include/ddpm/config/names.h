#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ddpm::config {

/// An enum whose values 0, 1, ... have names in a config. The names are declared once, beside the
/// enum and in its namespace:
///   constexpr auto names_of(Clip) { return std::array{"none", "clip", "rederive"}; }
template <class Enum>
concept Named = requires(Enum value) {
  names_of(value);
};

/// The name of a value.
template <Named Enum>
std::string to_string(Enum value) {
  return names_of(value).at(static_cast<size_t>(value));
}

/// All names, in the order of the values.
template <Named Enum>
std::vector<std::string> names() {
  const auto all = names_of(Enum{});
  return {all.begin(), all.end()};
}

/// The value of that name, if there is one.
template <Named Enum>
std::optional<Enum> value_named(std::string_view name) {
  const auto all = names_of(Enum{});
  for (size_t i = 0; i < all.size(); ++i) {
    if (name == all[i]) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

}  // namespace ddpm::config
