#pragma once

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>

namespace ddpm::train {

/// Seconds of "90" (s), "90s", "45m", "3h50m", "1d12h" or, as SLURM writes them, "HH:MM:SS" and
/// "D-HH:MM:SS". Throws UsageError, naming `what`, if it is no duration or 0.
double parse_duration(const std::string& text, const std::string& what);

/// A limit of wall-clock time, and when to stop so that a last step and its checkpoint still fit.
class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  Deadline() = default;  ///< none
  Deadline(double limit_s, Clock::time_point begin = Clock::now());

  /// Records the time of a step, until the next one began, and of a whole save.
  void saw_step(double seconds) { longest_step_ = std::max(longest_step_, seconds); }
  void saw_save(double seconds) { longest_save_ = std::max(longest_save_, seconds); }

  /// Whether it is time to save and stop. Twice the longest step and the longest save are kept in
  /// reserve, at least a twentieth of the limit or 30 s, whichever is less.
  bool reached() const;
  double reserve() const;
  std::optional<double> limit() const { return limit_s_; }

 private:
  std::optional<double> limit_s_;
  Clock::time_point begin_;
  double longest_step_ = 0.0, longest_save_ = 0.0;
};

}  // namespace ddpm::train
