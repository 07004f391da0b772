#include "ddpm/base/signals.h"

#include "ddpm/base/console.h"
#include "ddpm/base/progress.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <time.h>
#include <torch/types.h>
#include <unistd.h>

namespace ddpm {
namespace {

// A handler may access only these, and lock-free atomics (C++20, [support.signal]).
volatile sig_atomic_t stop_number = 0;
volatile sig_atomic_t save_wanted = 0;
volatile sig_atomic_t at_once_status = 0;  // 0: a signal is a request
volatile sig_atomic_t nothing_unsaved = 0;
volatile sig_atomic_t on_terminal = 0;
std::atomic<const char*> message = nullptr;
std::atomic<int64_t> first_interrupt_ms = 0;  // 0: none came
bool installed = false;

constexpr int64_t kImpatienceMs = 1000;
constexpr const char* kAgain = "; Ctrl-C again (after 1 s) ends without saving";
constexpr const char* kAgainAtOnce = "; Ctrl-C again (after 1 s) ends at once";

int64_t monotonic_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

// One line on stderr, by async-signal-safe calls.
void say(const char* text, const char* more = "") {
  std::array<char, 512> line;
  size_t size = 0;
  for (const char* part : {on_terminal != 0 ? "\r\033[K" : "", "ddpm: ", text, more, "\n"}) {
    const size_t count = std::min(std::strlen(part), line.size() - size);
    std::memcpy(line.data() + size, part, count);
    size += count;
  }
  write_to_stderr({line.data(), size});
}

[[noreturn]] void end(const char* text, int status) {
  say(text);
  ::_exit(status);
}

void stop(int number) {
  const char* text = message.load();
  if (at_once_status != 0) end(text, at_once_status);
  bool heard = stop_number != 0;
  if (number == SIGINT) {
    const int64_t first = first_interrupt_ms, now = monotonic_ms();
    if (first != 0 && now - first >= kImpatienceMs) {
      end(nothing_unsaved != 0
              ? "ended by a second Ctrl-C"
              : "ended by a second Ctrl-C without saving; what was saved before stays",
          kInterruptedStatus);
    }
    if (first == 0) {
      first_interrupt_ms = now;
      heard = false;  // answer the first Ctrl-C, also after another signal
    }
  }
  if (stop_number == 0) stop_number = number;
  const char* again = nothing_unsaved != 0 ? kAgainAtOnce : kAgain;
  if (!heard && text != nullptr) say(text, number == SIGINT ? again : "");
}

void handle(int number) {
  const int error = errno;
  if (number == SIGUSR2) {
    save_wanted = 1;
  } else {
    stop(number);
  }
  errno = error;
}

bool is_ignored(int number) {
  struct sigaction action {};
  ::sigaction(number, nullptr, &action);
  return action.sa_handler == SIG_IGN;
}

}  // namespace

std::string signal_name(int number) {
  switch (number) {
    case SIGINT:
      return "Ctrl-C";
    case SIGTERM:
      return "SIGTERM";
    case SIGHUP:
      return "SIGHUP";
    case SIGUSR1:
      return "SIGUSR1";
    default:
      return fmt::format("signal {}", number);
  }
}

StopSignal::StopSignal() {
  TORCH_CHECK(!installed, "there is a StopSignal already");
  installed = true;
  stop_number = 0;
  save_wanted = 0;
  at_once_status = 0;
  nothing_unsaved = 0;
  on_terminal = stderr_is_terminal() ? 1 : 0;
  message = nullptr;
  first_interrupt_ms = 0;
  struct sigaction action {};
  action.sa_handler = handle;
  action.sa_flags = SA_RESTART;  // reads and writes continue; polling code stops
  // Handlers do not interrupt each other.
  sigemptyset(&action.sa_mask);
  for (const int number : kSignals) sigaddset(&action.sa_mask, number);
  for (size_t i = 0; i < kSignals.size(); ++i) {
    const bool no_hang_up = kSignals[i] == SIGHUP && is_ignored(SIGHUP);
    ::sigaction(kSignals[i], no_hang_up ? nullptr : &action, &former_[i]);
  }
}

StopSignal::~StopSignal() {
  installed = false;
  if (stop_requested()) return;
  for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &former_[i], nullptr);
}

void StopSignal::ask(const char* what_follows, Unsaved unsaved) {
  nothing_unsaved = unsaved == Unsaved::kNothing ? 1 : 0;
  message = what_follows;
  at_once_status = 0;
}

void StopSignal::end_at_once(const char* text, int status) {
  message = text;
  at_once_status = status;
}

bool StopSignal::stop_requested() const { return stop_number != 0; }

int StopSignal::signal_number() const { return stop_number; }

bool StopSignal::take_save_request() {
  if (save_wanted == 0) return false;
  save_wanted = 0;
  return true;
}

EndOnSignal::EndOnSignal(std::string what_follows, int status, std::function<void()> clean_up)
    : what_follows_(std::move(what_follows)), status_(status), clean_up_(std::move(clean_up)) {
  sigemptyset(&awaited_);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
    if (number != SIGHUP || !is_ignored(SIGHUP)) sigaddset(&awaited_, number);
  }
  pthread_sigmask(SIG_BLOCK, &awaited_, &former_);
  waiting_ = std::thread([this] { wait(); });
}

EndOnSignal::~EndOnSignal() {
  done_ = true;
  pthread_kill(waiting_.native_handle(), SIGUSR1);
  waiting_.join();  // blocks if a signal came first: errors caused by its clean-up are not reported
  pthread_sigmask(SIG_SETMASK, &former_, nullptr);
}

// Runs in its own thread: unlike a handler it may call anything.
void EndOnSignal::wait() {
  int number = 0;
  sigwait(&awaited_, &number);
  if (done_) return;
  spdlog::warn("stopped by {}; {}", signal_name(number), what_follows_);
  spdlog::set_level(spdlog::level::off);  // clean-up may cause errors in other threads
  try {
    if (clean_up_) clean_up_();
  } catch (const std::exception& error) {
    spdlog::set_level(spdlog::level::warn);
    spdlog::warn("{}", error.what());
  }
  ::_exit(status_);
}

}  // namespace ddpm
