#include "ddpm/base/host.h"

#include <chrono>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ddpm {
namespace {

// proc(5): user nice system idle iowait irq softirq steal guest guest_nice, in ticks.
TEST(CoreUse, ReadsTheTimesOfEachCore) {
  const CoreTime time = core_time_of(
      "cpu  1300 100 400 9000 50 30 20 7 0 0\n"
      "cpu0 1000 0 300 4000 25 20 10 7 0 0\n"
      "cpu1 300 100 100 5000 25 10 10 0 0 0\n"
      "intr 12345 0\n",
      100.0);
  EXPECT_EQ(time.cores, 2);
  EXPECT_DOUBLE_EQ(time.busy_s, 18.5);
}

TEST(CoreUse, OtherTextHasNoCores) {
  EXPECT_EQ(core_time_of("", 100.0).cores, 0);
  EXPECT_EQ(core_time_of("cpufreq 1 2 3 4 5 6 7\ncpu\ncpu0 x\n", 100.0).cores, 0);
}

// A child that computes counts as another process, this one does not.
TEST(CoreUse, CountsOtherProcessesAlone) {
  const auto spin = [](double seconds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (std::chrono::steady_clock::now() < end) {
    }
  };
  const pid_t child = ::fork();
  if (child == 0) {
    spin(10.0);
    ::_exit(0);
  }
  const CoreUse use;
  if (use.cores() == 0) GTEST_SKIP() << "no /proc/stat";
  spin(1.0);
  EXPECT_GT(use.by_others(), 0.2);  // the child has at least its share of one core
  EXPECT_LE(use.by_others(), static_cast<double>(use.cores()));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

}  // namespace
}  // namespace ddpm
