#include "ddpm/checkpoint/run_lock.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "tests/checkpoint/child_process.h"
#include "tests/io/temporary_folder.h"

#include <string>

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

namespace ddpm::checkpoint {
namespace {

std::string lock_error(const std::filesystem::path& run) {
  try {
    const RunLock lock(run);
  } catch (const IoError& error) {
    return error.what();
  }
  return "no error";
}

// A child that holds the lock from before this returns until it is killed.
pid_t start_holder(const std::filesystem::path& run) {
  int ready[2];
  if (::pipe(ready) != 0) return -1;
  const pid_t child = start_child([&] {
    const RunLock lock(run);
    if (::write(ready[1], "x", 1) != 1) return 1;
    for (;;) ::pause();
  });
  char byte = 0;
  ::close(ready[1]);
  EXPECT_EQ(::read(ready[0], &byte, 1), 1);
  ::close(ready[0]);
  return child;
}

TEST(RunLock, SecondProcessIsToldWhoHoldsTheRun) {
  const TemporaryFolder run;
  const pid_t holder = start_holder(run.path());
  const std::string message = lock_error(run.path());
  ::kill(holder, SIGKILL);
  wait_for(holder);
  const std::string expected =
      run.path().string() + ": is in use by process " + std::to_string(holder) + " on ";
  EXPECT_EQ(message.substr(0, expected.size()), expected);
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

TEST(RunLock, IsFreeAfterItsHolderWasKilled) {
  const TemporaryFolder run;
  const pid_t holder = start_holder(run.path());
  ::kill(holder, SIGKILL);
  EXPECT_EQ(wait_for(holder), -SIGKILL);
  EXPECT_EQ(lock_error(run.path()), "no error");
}

TEST(RunLock, LeftoverFileIsNoObstacle) {
  const TemporaryFolder run;
  io::write_file_synced(run / "run.lock",
                        "process 1 on a-host-that-is-gone, and a longer text than ours");
  {
    const RunLock lock(run.path());
    EXPECT_TRUE(io::read_text(run / "run.lock")
                    .starts_with("process " + std::to_string(::getpid()) + " on "));
    EXPECT_EQ(io::read_text(run / "run.lock").find("gone"), std::string::npos);
  }
  EXPECT_EQ(lock_error(run.path()), "no error");
}

TEST(RunLock, SecondLockOfTheSameProcessIsRefused) {
  const TemporaryFolder run;
  const RunLock lock(run.path());
  EXPECT_NE(lock_error(run.path()), "no error");
}

TEST(RunLock, MissingFolderIsNamed) {
  const TemporaryFolder run;
  EXPECT_EQ(lock_error(run / "no"),
            (run / "no/run.lock").string() + ": cannot open: No such file or directory");
}

}  // namespace
}  // namespace ddpm::checkpoint
