#include "ddpm/base/progress.h"

#include "ddpm/base/clock.h"
#include "ddpm/base/console.h"
#include "ddpm/base/text.h"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <string_view>

#include <fmt/format.h>

namespace ddpm {
namespace {

constexpr int kMaxBar = 24;
constexpr int kMinBar = 8;

// Whole seconds below a minute, so that a countdown does not flicker.
std::string whole_seconds(double seconds) {
  return seconds < 59.5 ? fmt::format("{:.0f} s", std::max(0.0, seconds))
                        : format_duration(seconds);
}

std::string bar(double share, int width) {
  const auto filled =
      static_cast<size_t>(std::lround(std::clamp(share, 0.0, 1.0) * static_cast<double>(width)));
  return fmt::format("[{}{}]", std::string(filled, '#'),
                     std::string(static_cast<size_t>(width) - filled, '.'));
}

// The line with a bar of `bar_width` columns; 0: no bar.
std::string joined(const ProgressParts& p, int bar_width) {
  std::string line = p.title;
  if (bar_width > 0) line += " " + bar(p.share, bar_width);
  if (!p.count.empty()) line += " " + p.count;
  for (const std::string& part : {p.detail, p.rate, p.time}) {
    if (!part.empty()) line += "  " + part;
  }
  return line;
}

// A thread with all signals blocked: they are for the working thread.
template <class Work>
std::thread quiet_thread(const Work& work) {
  sigset_t all, former;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &former);
  std::thread thread(work);
  pthread_sigmask(SIG_SETMASK, &former, nullptr);
  return thread;
}

}  // namespace

std::string progress_line(const ProgressParts& parts, int width) {
  ProgressParts p = parts;
  const auto room = [&] { return width - columns(joined(p, 0)) - 3; };  // of the bar: " []"
  if (room() < kMinBar) p.rate.clear();
  if (room() >= kMinBar) return joined(p, std::min(room(), kMaxBar));
  const auto fits = [&] { return columns(joined(p, 0)) <= width; };
  if (!fits()) p.detail.clear();
  if (!fits()) p.time.clear();
  std::string line = joined(p, 0);
  while (columns(line) > std::max(width, 0)) line.pop_back();
  return line;
}

Progress::Progress(std::string title, int64_t total, int64_t done, double interval_s)
    : title_(std::move(title)),
      total_(total),
      first_(done),
      done_(done),
      interval_s_(interval_s),
      terminal_(stderr_is_terminal()),
      start_(Clock::now()),
      updated_(start_),
      shown_(start_) {
  if (!terminal_) return;
  print();
  ticker_ = quiet_thread([this] { keep_alive(); });
}

Progress::~Progress() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  end_.notify_one();
  if (ticker_.joinable()) ticker_.join();
  clear();
}

// Redraws the line between updates, so that the time advances and a resized terminal is respected.
void Progress::keep_alive() {
  constexpr std::chrono::milliseconds kPeriod{500};
  std::unique_lock lock(mutex_);
  while (!end_.wait_for(lock, kPeriod, [this] { return ended_; })) show(0.4);
}

ProgressParts Progress::parts() const {
  const auto seconds = [](Clock::duration d) { return std::chrono::duration<double>(d).count(); };
  const Clock::time_point now = Clock::now();
  ProgressParts p{.title = title_, .count = text_.count, .detail = text_.detail};
  if (p.count.empty()) p.count = fmt::format("{}/{}", done_, total_);
  p.rate = note_.empty() ? text_.rate : note_;
  p.share = total_ > 0 ? static_cast<double>(done_) / static_cast<double>(total_) : 1.0;
  if (done_ > first_) {
    const double per_unit = seconds(updated_ - start_) / static_cast<double>(done_ - first_);
    const double left = static_cast<double>(total_ - done_) * per_unit - seconds(now - updated_);
    p.time = "ETA " + whole_seconds(left);
  } else {
    p.time = whole_seconds(seconds(now - start_)) + " so far";
  }
  return p;
}

void Progress::print() {
  shown_ = Clock::now();
  if (terminal_) {
    // A line that fills the last column would wrap on some terminals.
    write_to_stderr(fmt::format("\r{}\033[K", progress_line(parts(), terminal_width() - 1)));
    drawn_ = true;
  } else {
    write_to_stderr(joined(parts(), 0) + "\n");
  }
}

void Progress::show(double gap_s) {
  if (terminal_ && !drawn_) return print();
  if (seconds_since(shown_) >= (terminal_ ? gap_s : interval_s_)) print();
}

void Progress::update(int64_t done, const ProgressText& text) {
  const std::lock_guard lock(mutex_);
  done_ = done;
  text_ = text;
  note_.clear();
  updated_ = Clock::now();
  show(0.1);
}

void Progress::note(const std::string& text) {
  const std::lock_guard lock(mutex_);
  note_ = text;
  if (!terminal_) show(0.0);
}

void Progress::clear() {
  const std::lock_guard lock(mutex_);
  if (!drawn_) return;
  write_to_stderr("\r\033[K");
  drawn_ = false;
}

}  // namespace ddpm
