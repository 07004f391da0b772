#include "ddpm/train/stop_signal.h"

#include "tests/train/child_process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <torch/torch.h>

namespace ddpm::train {
namespace {

TEST(StopSignal, EachStoppingSignalIsReported) {
  for (const int number : {SIGINT, SIGTERM, SIGUSR1}) {
    StopSignal stop;
    EXPECT_FALSE(stop.stop_requested());
    EXPECT_EQ(stop.signal_number(), 0);
    ::raise(number);
    EXPECT_TRUE(stop.stop_requested());
    EXPECT_EQ(stop.signal_number(), number);
    EXPECT_FALSE(stop.take_save_request());
  }
}

TEST(StopSignal, SaveRequestIsTakenOnceAndDoesNotStop) {
  StopSignal stop;
  EXPECT_FALSE(stop.take_save_request());
  ::raise(SIGUSR2);
  ::raise(SIGUSR2);
  EXPECT_FALSE(stop.stop_requested());
  EXPECT_TRUE(stop.take_save_request());
  EXPECT_FALSE(stop.take_save_request());
}

TEST(StopSignal, SecondInterruptOrTerminationEndsTheProcessAtOnce) {
  for (const int first : {SIGINT, SIGTERM}) {
    for (const int second : {SIGINT, SIGTERM}) {
      const int status = run_in_child([&] {
        StopSignal stop;
        ::raise(first);
        if (!stop.stop_requested()) return 1;
        ::raise(second);
        return 2;
      });
      EXPECT_EQ(status, 130) << first << ' ' << second;
    }
  }
}

TEST(StopSignal, EarlyWarningLeavesRoomForTermination) {
  const int status = run_in_child([] {
    StopSignal stop;
    ::raise(SIGUSR1);
    ::raise(SIGUSR1);
    ::raise(SIGTERM);
    return stop.signal_number() == SIGUSR1 ? 7 : 1;
  });
  EXPECT_EQ(status, 7);
}

TEST(StopSignal, FormerHandlersComeBack) {
  const int status = run_in_child([] {
    ::signal(SIGUSR2, SIG_IGN);
    { StopSignal stop; }
    ::raise(SIGUSR2);  // ignored again
    ::raise(SIGTERM);  // kills again
    return 0;
  });
  EXPECT_EQ(status, -SIGTERM);
}

TEST(StopSignal, OnlyOneAtATimeButOneAfterAnother) {
  {
    StopSignal stop;
    EXPECT_THROW(StopSignal(), c10::Error);
    ::raise(SIGINT);
    EXPECT_TRUE(stop.stop_requested());
  }
  StopSignal next;
  EXPECT_FALSE(next.stop_requested());
}

// A process that is asked to stop finishes its reads and writes.
TEST(StopSignal, BlockedReadGoesOn) {
  const int status = run_in_child([] {
    int ends[2];
    if (::pipe(ends) != 0) return 1;
    StopSignal stop;
    const pid_t parent = ::getpid();
    const pid_t helper = start_child([&] {
      ::usleep(20000);
      ::kill(parent, SIGTERM);
      ::usleep(20000);
      return ::write(ends[1], "x", 1) == 1 ? 0 : 1;
    });
    char byte = 0;
    const bool read = ::read(ends[0], &byte, 1) == 1;
    return wait_for(helper) == 0 && read && stop.stop_requested() ? 0 : 2;
  });
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace ddpm::train
