#include "ddpm/train/deadline.h"

#include "ddpm/base/clock.h"
#include "ddpm/base/error.h"

#include <algorithm>
#include <regex>

#include <fmt/format.h>

namespace ddpm::train {

double parse_duration(const std::string& text, const std::string& what) {
  // Days, hours, minutes and seconds of both notations.
  static const std::regex units(R"((?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?)");
  static const std::regex slurm(R"((?:(\d+)-)?(\d+):(\d\d):(\d\d))");
  constexpr double kSeconds[] = {86400.0, 3600.0, 60.0, 1.0};
  std::smatch parts;
  double seconds = 0.0;
  if (text.size() < 20 &&
      (std::regex_match(text, parts, slurm) || std::regex_match(text, parts, units))) {
    for (size_t i = 0; i < 4; ++i) {
      if (parts[i + 1].matched) seconds += kSeconds[i] * std::stod(parts[i + 1].str());
    }
  }
  if (seconds > 0.0) return seconds;
  throw UsageError(
      fmt::format("{} is \"{}\", not a time; write seconds, or as in 45m, 3h50m, 1d12h or 03:50:00",
                  what, text));
}

Deadline::Deadline(double limit_s, Clock::time_point begin) : limit_s_(limit_s), begin_(begin) {}

double Deadline::reserve() const {
  return std::max(2.0 * (longest_step_ + longest_save_), std::min(30.0, 0.05 * *limit_s_));
}

bool Deadline::reached() const {
  return limit_s_ && seconds_since(begin_) + reserve() >= *limit_s_;
}

}  // namespace ddpm::train
