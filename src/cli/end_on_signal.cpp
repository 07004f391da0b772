#include "end_on_signal.h"

#include <exception>
#include <utility>

#include <spdlog/spdlog.h>
#include <unistd.h>

namespace ddpm::cli {
namespace {

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGUSR1}) sigaddset(&set, number);
  return set;
}

}  // namespace

EndOnSignal::EndOnSignal(std::string what_follows, ExitStatus status,
                         std::function<void()> clean_up)
    : what_follows_(std::move(what_follows)), status_(status), clean_up_(std::move(clean_up)) {
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, &former_);
  waiting_ = std::thread([this] { wait(); });
}

EndOnSignal::~EndOnSignal() {
  done_ = true;
  pthread_kill(waiting_.native_handle(), SIGUSR1);
  waiting_.join();  // for ever where a signal came first: what its clean-up broke is not reported
  pthread_sigmask(SIG_SETMASK, &former_, nullptr);
}

// A thread of its own: unlike a handler it may do anything.
void EndOnSignal::wait() {
  const sigset_t set = stop_signals();
  int number = 0;
  sigwait(&set, &number);
  if (done_) return;
  spdlog::warn("stopped by a signal; {}", what_follows_);
  try {
    if (clean_up_) clean_up_();
  } catch (const std::exception& error) {
    spdlog::warn("{}", error.what());
  }
  ::_exit(status_);
}

}  // namespace ddpm::cli
