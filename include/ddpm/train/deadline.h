#pragma once

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>

namespace ddpm::train {

/// Parses a duration and returns seconds: "90" (s), "90s", "45m", "3h50m", "1d12h", or SLURM's
/// "HH:MM:SS" and "D-HH:MM:SS". Throws UsageError, naming `what`, if it is not a duration or is 0.
double parse_duration(const std::string& text, const std::string& what);

/// A limit of wall-clock time. Training stops early enough to fit a last step and its checkpoint.
class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  Deadline() = default;  ///< no limit
  Deadline(double limit_s, Clock::time_point begin = Clock::now());

  /// Records the seconds from the start of a step to the start of the next, or of a whole save.
  void saw_step(double seconds) { longest_step_ = std::max(longest_step_, seconds); }
  void saw_save(double seconds) { longest_save_ = std::max(longest_save_, seconds); }

  /// Whether it is time to save and stop. The reserve is twice the sum of the longest step and the
  /// longest save. It is at least a twentieth of the limit or 30 s, whichever is less.
  bool reached() const;
  double reserve() const;
  std::optional<double> limit() const { return limit_s_; }

 private:
  std::optional<double> limit_s_;
  Clock::time_point begin_;
  double longest_step_ = 0.0, longest_save_ = 0.0;
};

}  // namespace ddpm::train
