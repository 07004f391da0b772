#pragma once

#include "checked_parts.h"

#include <vector>

namespace ddpm::eval {

/// Identities of the schedule's tables (docs/math.md, Sections 2 to 4). Calls no network.
std::vector<CheckRow> schedule_rows(const CheckContext& context);

/// The bounds of the optimal variance (Bao 2022, Theorem 2) on the measured one.
std::vector<CheckRow> variance_rows(const CheckContext& context);

}  // namespace ddpm::eval
