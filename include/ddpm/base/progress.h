#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

namespace ddpm {

/// The parts of a progress line.
struct ProgressParts {
  std::string title = {};   ///< "training"
  std::string count = {};   ///< "260/2000"
  double share = 0.0;       ///< filled part of the bar, 0..1
  std::string detail = {};  ///< "loss 0.0512"
  std::string rate = {};    ///< "46.1 images/s"
  std::string time = {};    ///< "ETA 12 min 05 s"
};

/// The parts in one line of at most `width` columns. If they do not fit, the bar shrinks; then the
/// rate, the bar, the detail and the time are dropped, in this order.
std::string progress_line(const ProgressParts& parts, int width);

/// Texts of the caller in a progress line.
struct ProgressText {
  std::string count = {};   ///< instead of "done/total"
  std::string detail = {};  ///< dropped last
  std::string rate = {};    ///< dropped first
};

/// A progress line on stderr. On a terminal it is drawn immediately, fits the width, and is redrawn
/// also between updates. Elsewhere it is one plain line per interval.
class Progress {
 public:
  /// `total`: units of work (steps, images). `done`: units done before, in a resumed run.
  /// `interval_s`: seconds between plain lines.
  Progress(std::string title, int64_t total, int64_t done = 0, double interval_s = 30.0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Shows `done` of total and the estimated remaining time, at most ten times per second.
  void update(int64_t done, const ProgressText& text = {});
  /// Shows other work ("sampling 18/50", "waiting for data") in place of the rate until the next
  /// update.
  void note(const std::string& text);
  /// Removes the line, so that other text can be printed.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  ProgressParts parts() const;
  void show(double gap_s);
  void print();
  void keep_alive();

  std::string title_;
  int64_t total_, first_, done_;
  double interval_s_;
  bool terminal_;
  bool drawn_ = false;
  bool ended_ = false;
  ProgressText text_;
  std::string note_;
  Clock::time_point start_, updated_, shown_;
  std::mutex mutex_;  // guards the members above
  std::condition_variable end_;
  std::thread ticker_;  // on a terminal
};

}  // namespace ddpm
