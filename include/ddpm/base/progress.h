#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace ddpm {

/// "850 ms", "12.3 s", "4 min 05 s", "3 h 12 min", "2 d 04 h".
std::string format_duration(double seconds);
/// Wall time.
double seconds_since(std::chrono::steady_clock::time_point begin);

/// A progress line on stderr: a bar that redraws itself on a terminal, a plain line at intervals
/// elsewhere. One thread uses it.
class Progress {
 public:
  /// `total` counts units of work ("step", "image"); `done` is where it starts (a resumed run).
  /// interval_s: seconds between plain lines where stderr is no terminal.
  Progress(std::string title, int64_t total, int64_t done = 0, double interval_s = 30.0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Shows `done` of total, the remaining time at the rate so far, and `detail`; at most ten times
  /// a second.
  void update(int64_t done, const std::string& detail = "");
  /// Removes the bar, so that a line can be printed; the next update draws it again.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  std::string line(int64_t done, const std::string& detail) const;
  std::string title_;
  int64_t total_, first_;
  double interval_s_;
  bool terminal_;
  bool drawn_ = false;
  Clock::time_point start_, last_;
};

/// Is stderr a terminal?
bool stderr_is_terminal();

}  // namespace ddpm
