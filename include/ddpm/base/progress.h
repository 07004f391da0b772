#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

namespace ddpm {

/// "850 ms", "12.3 s", "4 min 05 s", "3 h 12 min", "2 d 04 h".
std::string format_duration(double seconds);
/// Wall time.
double seconds_since(std::chrono::steady_clock::time_point begin);

/// Can lines on stderr be redrawn? Not if it is no terminal, if TERM is "dumb", or if NO_COLOR is
/// set.
bool stderr_is_terminal();
/// Columns of the terminal on stderr, as it is now; 80 if it does not tell.
int terminal_width();

/// What a progress line says.
struct ProgressParts {
  std::string title = {};   ///< "training"
  std::string count = {};   ///< "260/2000"
  double share = 0.0;       ///< of the bar, 0..1
  std::string detail = {};  ///< "loss 0.0512"
  std::string rate = {};    ///< "46.1 images/s"
  std::string time = {};    ///< "ETA 12 min 05 s"
};

/// The parts in one line of at most `width` columns. If it is too narrow, the bar shrinks, and then
/// the rate, the bar, the detail and the time go, in this order.
std::string progress_line(const ProgressParts& parts, int width);

/// What the caller of Progress has to say besides how far it is.
struct ProgressText {
  std::string count = {};   ///< instead of "done/total"
  std::string detail = {};  ///< dropped last
  std::string rate = {};    ///< dropped first
};

/// A progress line on stderr. On a terminal it is drawn at once, fits the width, and is redrawn
/// while the work goes on, also between two updates; elsewhere it is one plain line per interval.
class Progress {
 public:
  /// `total` counts units of work ("step", "image"); `done` is where it starts (a resumed run).
  /// interval_s: seconds between plain lines.
  Progress(std::string title, int64_t total, int64_t done = 0, double interval_s = 30.0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Shows `done` of total and the remaining time at the rate so far; at most ten times a second.
  void update(int64_t done, const ProgressText& text = {});
  /// What is done besides ("sampling 18/50", "waiting for data"), until the next update. Shown in
  /// place of the rate if it lasts.
  void note(const std::string& text);
  /// Removes the line, so that another can be printed.
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
  std::mutex mutex_;  // guards what is above
  std::condition_variable end_;
  std::thread ticker_;  // on a terminal
};

}  // namespace ddpm
