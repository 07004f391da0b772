#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include <signal.h>

namespace ddpm {

/// Exit status of a process that a signal ended with nothing saved.
inline constexpr int kInterruptedStatus = 130;

/// "Ctrl-C", "SIGTERM", "SIGHUP", ...
std::string signal_name(int number);

/// For work that saves when it is stopped. While it lives, signals ask instead of kill: whoever
/// works for long polls stop_requested().
///   SIGINT, SIGTERM, SIGHUP, SIGUSR1   stop. The handler says at once, on stderr, what follows.
///   SIGINT again, a second later or more   ends the process at once, with kInterruptedStatus; no
///                                      other signal does, however often it comes
///   SIGUSR2                            save and go on
/// A SIGHUP that the process was told to ignore (nohup) stays ignored. One object at a time: the
/// handlers belong to the process. The destructor brings back the former ones, unless a stop was
/// requested: another signal must not kill a process that has saved and is about to end.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// From here on a signal asks. `what_follows` is said when it comes ("stopping after this step,
  /// then saving"); nullptr: nothing is said. A string literal: the handler may outlive the object.
  void ask(const char* what_follows);
  /// From here on there is nothing to save: a signal says `message` and ends the process with
  /// `status`. So it is while a process waits where it cannot poll.
  void end_at_once(const char* message, int status);

  bool stop_requested() const;
  /// The signal that first asked to stop; 0: none has.
  int signal_number() const;
  /// Was a save asked for since the last call?
  bool take_save_request();

 private:
  static constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
  std::array<struct sigaction, kSignals.size()> former_{};
};

/// For work that has nothing to save: while it lives, SIGINT, SIGTERM, SIGHUP or SIGUSR1 end the
/// process at once, wherever it is, with one line ("stopped by SIGTERM; " and `what_follows`) and
/// `status`, after `clean_up`. Make it before there are other threads: they inherit its signal
/// mask. What was before returns with the destructor.
class EndOnSignal {
 public:
  explicit EndOnSignal(std::string what_follows, int status = kInterruptedStatus,
                       std::function<void()> clean_up = {});
  ~EndOnSignal();
  EndOnSignal(const EndOnSignal&) = delete;
  EndOnSignal& operator=(const EndOnSignal&) = delete;

 private:
  void wait();

  std::string what_follows_;
  int status_;
  std::function<void()> clean_up_;
  std::atomic<bool> done_ = false;
  sigset_t awaited_{}, former_{};
  std::thread waiting_;
};

}  // namespace ddpm
