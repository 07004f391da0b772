#pragma once

#include <optional>
#include <string>

namespace ddpm {

/// A line of a run's log.txt: "[2026-01-31 12:00:00] warning text".
struct LogLine {
  std::string time;   ///< "2026-01-31 12:00:00"
  std::string level;  ///< "info", "warning", ...
  std::string text;
};

/// None if it is another line, as the second one of a message.
std::optional<LogLine> parse_log_line(const std::string& line);

}  // namespace ddpm
