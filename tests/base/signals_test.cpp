#include "ddpm/base/signals.h"

#include "tests/checkpoint/child_process.h"

#include <chrono>
#include <functional>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <signal.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <torch/types.h>

namespace ddpm {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 1100ms;  // a second Ctrl-C counts a second after the first

// What a child process left, and what it wrote to stderr.
struct Outcome {
  int status = 0;  // minus the signal that killed it
  std::string err;
};

Outcome outcome_of(const std::function<int()>& action) {
  int ends[2];
  if (::pipe(ends) != 0) return {-999, ""};
  const pid_t child = start_child([&] {
    ::dup2(ends[1], STDERR_FILENO);
    ::close(ends[0]);
    ::close(ends[1]);
    return action();
  });
  ::close(ends[1]);
  Outcome outcome;
  char byte = 0;
  while (::read(ends[0], &byte, 1) == 1) outcome.err += byte;
  ::close(ends[0]);
  outcome.status = wait_for(child);
  return outcome;
}

TEST(StopSignal, EachStoppingSignalIsReported) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
    const int status = run_in_child([&] {
      StopSignal stop;
      if (stop.stop_requested() || stop.signal_number() != 0) return 1;
      ::raise(number);
      return stop.signal_number() == number && !stop.take_save_request() ? 0 : 2;
    });
    EXPECT_EQ(status, 0) << number;
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

// Schedulers and wrappers send a signal to a process and to its group, or again until it is gone.
TEST(StopSignal, NoNumberOfSignalsFromAProgramEndsTheProcess) {
  for (const int number : {SIGTERM, SIGHUP, SIGUSR1}) {
    const int status = run_in_child([&] {
      StopSignal stop;
      for (int i = 0; i < 5; ++i) ::raise(number);
      std::this_thread::sleep_for(kPatience);
      ::raise(number);
      ::raise(SIGTERM);
      return stop.signal_number() == number ? 7 : 1;
    });
    EXPECT_EQ(status, 7) << number;
  }
}

TEST(StopSignal, OnlyASecondCtrlCASecondLaterEndsTheProcessAtOnce) {
  const Outcome hasty = outcome_of([] {
    StopSignal stop;
    for (int i = 0; i < 5; ++i) ::raise(SIGINT);
    return 7;
  });
  EXPECT_EQ(hasty.status, 7);
  const Outcome patient = outcome_of([] {
    StopSignal stop;
    ::raise(SIGINT);
    std::this_thread::sleep_for(kPatience);
    ::raise(SIGINT);
    return 7;
  });
  EXPECT_EQ(patient.status, 130);
  EXPECT_EQ(patient.err,
            "ddpm: ended by a second Ctrl-C without saving; what was saved before stays\n");
  // SIGTERM long before does not make a first Ctrl-C a second one.
  const Outcome mixed = outcome_of([] {
    StopSignal stop;
    ::raise(SIGTERM);
    std::this_thread::sleep_for(kPatience);
    ::raise(SIGINT);
    ::raise(SIGTERM);
    return 7;
  });
  EXPECT_EQ(mixed.status, 7);
}

TEST(StopSignal, TheHandlerItselfSaysWhatFollows) {
  const std::string text = "ddpm: stopping after this step, then saving";
  const std::string again = "; Ctrl-C again (after 1 s) ends without saving\n";
  const auto said = [](const std::vector<int>& numbers) {
    return outcome_of([&] {
             StopSignal stop;
             stop.ask("stopping after this step, then saving");
             for (const int number : numbers) ::raise(number);
             return 0;
           })
        .err;
  };
  EXPECT_EQ(said({SIGINT}), text + again);
  EXPECT_EQ(said({SIGINT, SIGINT, SIGTERM}), text + again) << "once";
  EXPECT_EQ(said({SIGTERM, SIGTERM}), text + "\n");
  EXPECT_EQ(said({SIGTERM, SIGINT}), text + "\n" + text + again) << "a person is answered";
  EXPECT_EQ(said({SIGUSR2}), "");
}

// A server has answers to end, and nothing to save.
TEST(StopSignal, WhoSavesNothingSaysNothingOfSaving) {
  const auto said = [](int second) {
    return outcome_of([&] {
      StopSignal stop;
      stop.ask("stopping", StopSignal::Unsaved::kNothing);
      ::raise(SIGINT);
      std::this_thread::sleep_for(kPatience);
      ::raise(second);
      return 7;
    });
  };
  const std::string first = "ddpm: stopping; Ctrl-C again (after 1 s) ends at once\n";
  EXPECT_EQ(said(SIGTERM).err, first);
  EXPECT_EQ(said(SIGTERM).status, 7);
  EXPECT_EQ(said(SIGINT).err, first + "ddpm: ended by a second Ctrl-C\n");
  EXPECT_EQ(said(SIGINT).status, 130);
}

TEST(StopSignal, WithNothingToSaveItEndsTheProcessAtOnce) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
    const Outcome outcome = outcome_of([&] {
      StopSignal stop;
      stop.end_at_once("stopped before a step was taken", 75);
      ::raise(number);
      return 1;
    });
    EXPECT_EQ(outcome.status, 75) << number;
    EXPECT_EQ(outcome.err, "ddpm: stopped before a step was taken\n");
  }
  EXPECT_EQ(run_in_child([] {
              StopSignal stop;
              stop.end_at_once("stopped", 75);
              stop.ask(nullptr);
              ::raise(SIGTERM);
              return stop.stop_requested() ? 7 : 1;
            }),
            7);
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

// The signals that follow must not kill a process that has saved and is about to end.
TEST(StopSignal, AfterARequestTheHandlersStay) {
  const int status = run_in_child([] {
    {
      StopSignal stop;
      ::raise(SIGTERM);
    }
    ::raise(SIGTERM);
    ::raise(SIGHUP);
    return 7;
  });
  EXPECT_EQ(status, 7);
}

TEST(StopSignal, AHangUpThatIsIgnoredStaysIgnored) {
  const int status = run_in_child([] {
    ::signal(SIGHUP, SIG_IGN);  // as nohup does
    StopSignal stop;
    ::raise(SIGHUP);
    return stop.stop_requested() ? 1 : 7;
  });
  EXPECT_EQ(status, 7);
}

TEST(StopSignal, OnlyOneAtATimeButOneAfterAnother) {
  const int status = run_in_child([] {
    {
      StopSignal stop;
      try {
        StopSignal second;
        return 1;
      } catch (const c10::Error&) {
      }
      ::raise(SIGINT);
      if (!stop.stop_requested()) return 2;
    }
    StopSignal next;
    return next.stop_requested() ? 3 : 7;
  });
  EXPECT_EQ(status, 7);
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

TEST(EndOnSignal, EachSignalEndsTheProcessWithOneLine) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
    const Outcome outcome = outcome_of([&] {
      spdlog::set_default_logger(spdlog::stderr_logger_mt("child"));  // as the program logs
      const EndOnSignal ending("what was measured is lost", 75);
      ::kill(::getpid(), number);
      ::kill(::getpid(), number);
      std::this_thread::sleep_for(1min);
      return 1;
    });
    EXPECT_EQ(outcome.status, 75) << number;
    EXPECT_TRUE(outcome.err.ends_with("stopped by " + signal_name(number) +
                                      "; what was measured is lost\n"))
        << outcome.err;
  }
}

TEST(EndOnSignal, AHangUpThatIsIgnoredStaysIgnored) {
  const int status = run_in_child([] {
    ::signal(SIGHUP, SIG_IGN);
    const EndOnSignal ending("what was measured is lost", 75);
    ::kill(::getpid(), SIGHUP);
    std::this_thread::sleep_for(100ms);
    return 7;
  });
  EXPECT_EQ(status, 7);
}

}  // namespace
}  // namespace ddpm
