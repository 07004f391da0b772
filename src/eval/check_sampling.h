#pragma once

#include "checked_parts.h"

#include <string>
#include <vector>

namespace ddpm::eval {

/// DDIM of the network restated in the other predictions against DDIM of itself.
std::vector<CheckRow> prediction_rows(const CheckContext& context);
/// Methods that are DDIM or Algorithm 2 by another name, with the same noise.
std::vector<CheckRow> method_rows(const CheckContext& context);
/// The error of encoding and decoding, with S and 2 S steps.
std::vector<CheckRow> round_trip_rows(const CheckContext& context);
/// Which prediction explains the network's own samples best.
std::vector<CheckRow> reading_rows(const CheckContext& context);

}  // namespace ddpm::eval
