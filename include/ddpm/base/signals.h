#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include <signal.h>

namespace ddpm {

/// Exit status of a process that a signal ended without saving.
inline constexpr int kInterruptedStatus = 130;

/// "Ctrl-C", "SIGTERM", "SIGHUP", ...
std::string signal_name(int number);

/// For work that ends in order: that saves, or answers, before it stops. While alive, turns termination signals into requests; long
/// work polls stop_requested().
///   SIGINT, SIGTERM, SIGHUP, SIGUSR1   stop; the handler prints a message on stderr immediately
///   SIGINT again after 1 s             ends the process at once with kInterruptedStatus
///   SIGUSR2                            save and continue
/// A SIGHUP that the process ignores (nohup) stays ignored. Only one object may exist: the handlers
/// belong to the process. The destructor restores the former handlers unless a stop was requested:
/// another signal must not kill a process that has saved and is about to end.
class StopSignal {
 public:
  /// What a second Ctrl-C gives up, for the messages.
  enum class Unsaved { kWork, kNothing };

  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// From now on a signal requests a stop and prints `what_follows` ("stopping after this step,
  /// then saving"); nullptr: prints nothing. Pass a string literal: the handler may outlive the
  /// object.
  void ask(const char* what_follows, Unsaved unsaved = Unsaved::kWork);
  /// From now on there is nothing to save: a signal prints `message` and ends the process with
  /// `status`. For waits that cannot poll.
  void end_at_once(const char* message, int status);

  bool stop_requested() const;
  /// The signal that first requested a stop; 0: none.
  int signal_number() const;
  /// Whether a save was requested since the last call.
  bool take_save_request();

 private:
  static constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
  std::array<struct sigaction, kSignals.size()> former_{};
};

/// For work that has nothing to save. While alive, SIGINT, SIGTERM, SIGHUP or SIGUSR1 end the
/// process immediately: they print "stopped by SIGTERM; " and `what_follows`, call `clean_up` and
/// exit with `status`. Create it before other threads, which inherit its signal mask. The
/// destructor restores the former state.
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
