#include "ddpm/base/log_line.h"

namespace ddpm {

std::optional<LogLine> parse_log_line(const std::string& line) {
  constexpr size_t kTime = 19;
  if (line.size() < kTime + 3 || line[0] != '[' || line.compare(kTime + 1, 2, "] ") != 0)
    return std::nullopt;
  const size_t space = line.find(' ', kTime + 3);
  if (space == std::string::npos) return std::nullopt;
  return LogLine{line.substr(1, kTime), line.substr(kTime + 3, space - kTime - 3),
                 line.substr(space + 1)};
}

}  // namespace ddpm
