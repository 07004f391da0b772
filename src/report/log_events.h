#pragma once

#include <string_view>

#include <nlohmann/json.hpp>

namespace ddpm::report {

/// What a run's log.txt says besides the progress: an array of {step, time, kind, text}. kind:
/// "start", "restart", "stop", "end", "skipped", "warning" or "error". step: the one that the line
/// names, else the last one named before. A run that begins anew at step 0 forgets what was before.
nlohmann::ordered_json log_events(std::string_view log);

}  // namespace ddpm::report
