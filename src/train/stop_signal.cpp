#include "ddpm/train/stop_signal.h"

#include <torch/torch.h>
#include <unistd.h>

namespace ddpm::train {
namespace {

// All a handler may touch (C++20, [support.signal]).
volatile sig_atomic_t stop_number = 0;
volatile sig_atomic_t hard_stops = 0;
volatile sig_atomic_t save_wanted = 0;
bool installed = false;

constexpr int kInterruptedStatus = 130;

void handle(int number) {
  if (number == SIGUSR2) {
    save_wanted = 1;
    return;
  }
  if (number != SIGUSR1) {
    hard_stops = hard_stops + 1;
    if (hard_stops > 1) ::_exit(kInterruptedStatus);
  }
  if (stop_number == 0) stop_number = number;
}

}  // namespace

StopSignal::StopSignal() {
  TORCH_CHECK(!installed, "there is a StopSignal already");
  installed = true;
  stop_number = hard_stops = save_wanted = 0;
  struct sigaction action {};
  action.sa_handler = handle;
  action.sa_flags = SA_RESTART;  // reads and writes go on; only who polls stops
  // One handler at a time, so that the count of hard stops is exact.
  sigemptyset(&action.sa_mask);
  for (const int number : kSignals) sigaddset(&action.sa_mask, number);
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &action, &former_[i]);
}

StopSignal::~StopSignal() {
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &former_[i], nullptr);
  installed = false;
}

bool StopSignal::stop_requested() const { return stop_number != 0; }

int StopSignal::signal_number() const { return stop_number; }

bool StopSignal::take_save_request() {
  if (save_wanted == 0) return false;
  save_wanted = 0;
  return true;
}

}  // namespace ddpm::train
