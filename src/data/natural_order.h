#pragma once

#include <string_view>

namespace ddpm::data {

/// Is `a` before `b` as people count: numbers in them by their value, so "2" before "10", and
/// "img9" before "img10"; the rest byte by byte. Names of equal numbers ("1" and "01") as text.
bool natural_less(std::string_view a, std::string_view b);

}  // namespace ddpm::data
