#pragma once

#include <limits>

namespace ddpm::eval {

/// Stands for a number that cannot be measured.
inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

}  // namespace ddpm::eval
