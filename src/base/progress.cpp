#include "ddpm/base/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <fmt/format.h>
#include <unistd.h>

namespace ddpm {

bool stderr_is_terminal() { return isatty(STDERR_FILENO) == 1; }

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  if (seconds < 0.9995) return fmt::format("{:.0f} ms", seconds * 1e3);
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  if (whole < 86400) return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
  return fmt::format("{} d {:02} h", whole / 86400, whole % 86400 / 3600);
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

Progress::Progress(std::string title, int64_t total, int64_t done, double interval_s)
    : title_(std::move(title)),
      total_(total),
      first_(done),
      interval_s_(interval_s),
      terminal_(stderr_is_terminal()),
      start_(Clock::now()),
      last_(start_) {}

Progress::~Progress() { clear(); }

std::string Progress::line(int64_t done, const std::string& detail) const {
  constexpr int kWidth = 24;
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  const double rate = static_cast<double>(done - first_) / std::max(elapsed, 1e-9);
  const std::string left =
      done > first_ ? format_duration(static_cast<double>(total_ - done) / rate) : "?";
  const std::string tail =
      fmt::format("{}/{}{}{}  ETA {}", done, total_, detail.empty() ? "" : "  ", detail, left);
  if (!terminal_) return fmt::format("{} {}", title_, tail);
  const int filled = total_ > 0 ? static_cast<int>(kWidth * done / total_) : kWidth;
  return fmt::format("{} [{}{}] {}", title_, std::string(filled, '#'),
                     std::string(kWidth - filled, '.'), tail);
}

void Progress::update(int64_t done, const std::string& detail) {
  const Clock::time_point now = Clock::now();
  const double since = std::chrono::duration<double>(now - last_).count();
  if (since < (terminal_ ? 0.1 : interval_s_) && !(terminal_ && !drawn_)) return;
  last_ = now;
  fmt::print(stderr, "{}{}{}", terminal_ ? "\r" : "", line(done, detail),
             terminal_ ? "\033[K" : "\n");
  std::fflush(stderr);
  drawn_ = terminal_;
}

void Progress::clear() {
  if (!drawn_) return;
  fmt::print(stderr, "\r\033[K");
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace ddpm
