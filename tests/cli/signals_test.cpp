#include "tests/cli/fixture.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>

#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ddpm {
namespace {

using namespace std::chrono_literals;

class Signals : public CliTest {
 protected:
  static std::vector<std::string> endless(const std::string& out) {
    return {"train",
            "--config",
            "tiny.toml",
            "--out",
            out,
            "--set",
            "train.steps=100000000",
            "--set",
            "train.checkpoint_every=100000000"};
  }

  // A step of many seconds.
  static std::vector<std::string> slow(const std::string& out) {
    std::vector<std::string> words = endless(out);
    for (const char* assignment : {"train.batch_size=30000", "train.accumulate=1"}) {
      words.emplace_back("--set");
      words.emplace_back(assignment);
    }
    return words;
  }

  int checkpoints(const std::string& run) {
    int count = 0;
    std::error_code none;
    for (const auto& entry :
         std::filesystem::directory_iterator(folder_ / run / "checkpoints", none))
      count += entry.path().filename().string().starts_with("step-");
    return count;
  }

  static bool says(const ProgramResult& result, const std::string& text) {
    return result.err.find(text) != std::string::npos;
  }
};

// As `timeout`, srun and container runtimes do: to the process and to its group, or again.
TEST_F(Signals, TwoAtOnceStillSave) {
  for (const int number : {SIGTERM, SIGHUP, SIGINT}) {
    const std::string out = "run-" + std::to_string(number);
    Program program(folder_.path(), endless(out));
    ASSERT_TRUE(program.wait_for_message("network:"));
    std::this_thread::sleep_for(200ms);
    for (int i = 0; i < 3; ++i) program.send(number);
    const ProgramResult result = program.wait();
    EXPECT_EQ(result.status, 75) << result.err;
    EXPECT_EQ(checkpoints(out), 1) << result.err;
    const std::string name = number == SIGINT ? "Ctrl-C" : number == SIGTERM ? "SIGTERM" : "SIGHUP";
    EXPECT_TRUE(says(result, "stopped by " + name + " and saved at step ")) << result.err;
    EXPECT_TRUE(says(result, "; run the same command to continue")) << result.err;
  }
}

TEST_F(Signals, CtrlCIsAnsweredDuringAStepAndASecondOneASecondLaterEndsIt) {
  Program program(folder_.path(), slow("run"));
  ASSERT_TRUE(program.wait_for_message("network:"));
  std::this_thread::sleep_for(1s);  // the first step has begun
  program.send(SIGINT);
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(
      program.wait_for_message("ddpm: stopping after this step, then saving; Ctrl-C again (after 1 "
                               "s) ends without saving\n"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 1s);
  program.send(SIGINT);  // an impatient one changes nothing
  program.send(SIGTERM);
  std::this_thread::sleep_for(1100ms);
  program.send(SIGINT);
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.status, 130) << result.err;
  EXPECT_TRUE(
      result.err.ends_with("ended by a second Ctrl-C without saving; what was saved before "
                           "stays\n"))
      << result.err;
  EXPECT_EQ(checkpoints("run"), 0);
}

TEST_F(Signals, BeforeTheFirstStepThereIsNothingToWaitFor) {
  // Rank 1 never comes, so that rank 0 waits where it cannot poll.
  Program program(folder_.path(), endless("run"),
                  {"RANK=0", "WORLD_SIZE=2", "LOCAL_RANK=0", "LOCAL_WORLD_SIZE=2",
                   "MASTER_ADDR=127.0.0.1", "MASTER_PORT=29123"});
  ASSERT_TRUE(program.wait_for_message("2 processes"));
  std::this_thread::sleep_for(200ms);
  program.send(SIGTERM);
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.status, 75) << result.err;
  EXPECT_TRUE(
      result.err.ends_with("ddpm: stopped before a step was taken; run the same command again\n"))
      << result.err;
}

TEST_F(Signals, SamplingKeepsWhatIsFinished) {
  train("run");
  Program program(folder_.path(), {"sample", "--ckpt", "run", "--num", "200000", "--steps", "10",
                                   "--batch", "64", "--out", "pictures"});
  const auto deadline = std::chrono::steady_clock::now() + 2min;
  while (!std::filesystem::exists(folder_ / "pictures/000064.png") &&
         std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(5ms);
  for (int i = 0; i < 3; ++i) program.send(SIGTERM);
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.status, 75) << result.err;
  EXPECT_TRUE(says(result, "ddpm: stopping; finished images are kept\n")) << result.err;
  EXPECT_TRUE(std::filesystem::exists(folder_ / "pictures/000063.png"));
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "pictures"))
    EXPECT_NE(entry.path().filename().string()[0], '.') << entry.path();
}

TEST_F(Signals, AClosedTerminalStopsTrainingWithASave) {
  std::vector<std::string> words = endless("run");
  words.insert(words.begin(), DDPM_PROGRAM);
  int terminal = -1;
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, nullptr);
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    if (::chdir(folder_.path().c_str()) != 0) ::_exit(125);
    ::execv(DDPM_PROGRAM, argv.data());
    ::_exit(126);
  }
  std::string shown;
  char text[1024];
  while (shown.find("network:") == std::string::npos) {
    const ssize_t size = ::read(terminal, text, sizeof text);
    ASSERT_GT(size, 0) << shown;
    shown.append(text, static_cast<size_t>(size));
  }
  std::this_thread::sleep_for(200ms);
  ::close(terminal);  // SIGHUP; and nothing can be shown any more
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "killed by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 75);
  EXPECT_EQ(checkpoints("run"), 1);
  EXPECT_NE(io::read_text(folder_ / "run/log.txt").find("stopped by SIGHUP and saved at step"),
            std::string::npos);
}

TEST_F(Signals, OneBeforeTheFirstStepEndsWithStatus75AndLosesNothing) {
  train("whole");
  train("run");
  std::filesystem::remove_all(checkpoint("run", 12));
  Program program(folder_.path(), {"train", "--config", "tiny.toml", "--out", "run"});
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  program.send(SIGTERM);  // while it starts, or reads the data or the checkpoint
  const ProgramResult result = program.wait();
  EXPECT_TRUE(result.status == 75 || result.status == 128 + SIGTERM || result.status == 0)
      << result.err;
  train("run");
  expect_same_tensors(checkpoint("whole", 12), checkpoint("run", 12));
}

}  // namespace
}  // namespace ddpm
