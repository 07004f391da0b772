#pragma once

#include <chrono>
#include <string>

namespace ddpm {

/// Wall time since `begin`.
double seconds_since(std::chrono::steady_clock::time_point begin);

/// The present time in UTC, ISO 8601: "2026-01-31T12:05:00Z".
std::string utc_now();

}  // namespace ddpm
