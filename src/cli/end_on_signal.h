#pragma once

#include "ddpm/cli/app.h"

#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include <signal.h>

namespace ddpm::cli {

/// For work that has nothing to save: while it lives, SIGINT, SIGTERM or SIGUSR1 end the process at
/// once, wherever it is, with one line ("stopped by a signal; " and `what_follows`) and `status`,
/// after `clean_up`. Make it before there are other threads: they inherit its signal mask. What
/// was before returns with the destructor.
class EndOnSignal {
 public:
  explicit EndOnSignal(std::string what_follows, ExitStatus status = kKilled,
                       std::function<void()> clean_up = {});
  ~EndOnSignal();
  EndOnSignal(const EndOnSignal&) = delete;
  EndOnSignal& operator=(const EndOnSignal&) = delete;

 private:
  void wait();

  std::string what_follows_;
  ExitStatus status_;
  std::function<void()> clean_up_;
  std::atomic<bool> done_ = false;
  sigset_t former_{};
  std::thread waiting_;
};

}  // namespace ddpm::cli
