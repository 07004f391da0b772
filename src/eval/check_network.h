#pragma once

#include "checked_parts.h"

#include <vector>

namespace ddpm::eval {

/// Whether the output is finite at t = 1, T/2 and T.
std::vector<CheckRow> finite_rows(const CheckContext& context);
/// Whether the output is a function of (x_t, t, class) alone, and of each of them; its precision.
std::vector<CheckRow> network_rows(const CheckContext& context);
/// Guided outputs against the outputs that they are made of (docs/math.md, Section 13).
std::vector<CheckRow> guidance_rows(const CheckContext& context);

}  // namespace ddpm::eval
