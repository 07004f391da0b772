#pragma once

#include <array>

#include <signal.h>

namespace ddpm::train {

/// While it lives, signals ask instead of kill. The handlers only set flags; whoever works for long
/// polls them: each training step, each network call of a sampler.
///   SIGINT, SIGTERM, SIGUSR1   save and stop. A second SIGINT or SIGTERM ends the process at once,
///   status 130
///                              (SIGUSR1 is an early warning that SIGTERM may follow; it does not
///                              count)
///   SIGUSR2                    save and go on
/// One at a time: the flags belong to the process. The former handlers return with the destructor.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  bool stop_requested() const;
  /// The signal that first asked to stop; 0: none has.
  int signal_number() const;
  /// Was a save asked for since the last call?
  bool take_save_request();

 private:
  static constexpr std::array<int, 4> kSignals = {SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
  std::array<struct sigaction, kSignals.size()> former_{};
};

}  // namespace ddpm::train
