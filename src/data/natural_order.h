#pragma once

#include <string_view>

namespace ddpm::data {

/// Natural order: numbers in names are compared by value ("2" before "10", "img9" before "img10"),
/// other characters by byte. If all are equal ("1" and "01"), compares as text.
bool natural_less(std::string_view a, std::string_view b);

}  // namespace ddpm::data
