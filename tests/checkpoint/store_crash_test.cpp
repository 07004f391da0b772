#include "ddpm/base/error.h"
#include "ddpm/base/rng.h"
#include "ddpm/checkpoint/store.h"
#include "tests/base/test_purpose.h"
#include "tests/checkpoint/child_process.h"
#include "tests/checkpoint/published.h"
#include "tests/io/temporary_folder.h"

#include <cerrno>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <torch/types.h>
#include <unistd.h>

namespace ddpm::checkpoint {
namespace {

// Crashes, failing system calls and kills at every point: no published checkpoint is lost.

// Publishes step 2 over a damaged one beside an intact step 1, then drops step 1 by retention:
// every kind of call is in it.
void publish_replace_and_retain(CheckpointStore& store) {
  publish(store, 2);
  store.retain();
}

void prepare(const fs::path& directory) {
  CheckpointStore store(directory);
  publish(store, 1);
  flip_bit(publish(store, 2) / "state.json", 0, 0);
}

// How many system calls publish_replace_and_retain makes.
int count_calls() {
  const TemporaryFolder run(memory_folder());
  prepare(run / "checkpoints");
  CheckpointStore store(run / "checkpoints", {.keep_last = 1});
  int calls = 0;
  store.on_syscall = [&](const io::Syscall& call) {
    calls += call.done ? 1 : 0;
    return 0;
  };
  publish_replace_and_retain(store);
  EXPECT_EQ(store.steps(), Steps{2});
  return calls;
}

TEST(CheckpointStore, KillBeforeAndAfterEverySystemCallLosesNothing) {
  const int calls = count_calls();
  ASSERT_GT(calls, 25);
  for (int fatal = 1; fatal <= 2 * calls; ++fatal) {
    const TemporaryFolder run(memory_folder());
    const fs::path directory = run / "checkpoints";
    prepare(directory);
    const int status = run_in_child([&] {
      CheckpointStore store(directory, {.keep_last = 1});
      int boundary = 0;
      store.on_syscall = [&](const io::Syscall&) {
        if (++boundary == fatal) ::raise(SIGKILL);
        return 0;
      };
      publish_replace_and_retain(store);
      return 0;
    });
    ASSERT_EQ(status, -SIGKILL) << fatal;

    // The next process finds step 1 or step 2 intact, cleans up, and can save.
    CheckpointStore store(directory, {.keep_last = 1});
    store.clean();
    ASSERT_FALSE(has_leftovers(directory)) << fatal;
    const auto newest = store.newest_valid();
    ASSERT_TRUE(newest.has_value()) << fatal;
    ASSERT_EQ(step_inside(*newest), *newest == store.folder_of(2) ? 2 : 1) << fatal;
    publish(store, 3);
    store.retain();
    ASSERT_EQ(store.steps(), Steps{3}) << fatal;
    expect_all_valid(store);
  }
}

// Makes call `failing` of publish_replace_and_retain fail with `error`, and returns what it was.
std::string fail_call(CheckpointStore& store, int failing, int error, std::string* message) {
  std::string failed;
  int begun = 0;
  store.on_syscall = [&](const io::Syscall& call) {
    if (call.done || ++begun != failing) return 0;
    failed = std::string(call.name);
    return error;
  };
  *message = error_of([&] { publish_replace_and_retain(store); });
  store.on_syscall = {};
  return failed;
}

TEST(CheckpointStore, FailureOfEverySystemCallIsReportedAndLosesNothing) {
  const spdlog::level::level_enum level = spdlog::get_level();
  spdlog::set_level(spdlog::level::err);
  const int errors[] = {ENOSPC, EIO, EDQUOT};
  const int calls = count_calls();
  int reported = 0;
  for (int failing = 1; failing <= calls; ++failing) {
    const TemporaryFolder run(memory_folder());
    const fs::path directory = run / "checkpoints";
    prepare(directory);
    CheckpointStore store(directory, {.keep_last = 1});
    std::string message;
    const std::string failed = fail_call(store, failing, errors[failing % 3], &message);
    SCOPED_TRACE(failed + ": " + message);
    const std::vector<std::string> left = entries_of(directory);
    EXPECT_TRUE(std::none_of(left.begin(), left.end(),
                             [](const auto& name) { return name.starts_with(".tmp"); }));
    if (message == "no error") {  // what fails after publishing is logged, and tried again
      EXPECT_TRUE(CheckpointStore::verify(store.folder_of(2)).ok());
    } else {
      ++reported;
      EXPECT_NE(message.find("cannot " + failed), std::string::npos);
      EXPECT_TRUE(CheckpointStore::verify(store.folder_of(1)).ok());
    }
    publish(store, 3);  // the next save works
    store.retain();
    store.clean();
    EXPECT_EQ(entries_of(directory), (std::vector<std::string>{"step-000000003"}));
    expect_all_valid(store);
  }
  EXPECT_EQ(reported, 18);  // mkdir to the folder's last sync: all but the removals and retention
  spdlog::set_level(level);
}

// The kernel's own refusal: a write is cut short at the limit, the next one fails.
TEST(CheckpointStore, FileThatTheKernelCutsShortIsNeverPublished) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints");
  publish(store, 1);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{4096, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const std::string message = error_of([&] {
    CheckpointDraft draft = store.begin(2);
    draft.add_tensors("model.safetensors", {{"weight", torch::zeros({10000})}});
    draft.publish();
  });
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, old_handler);
  EXPECT_NE(message.find("model.safetensors: cannot write: File too large"), std::string::npos);
  EXPECT_EQ(entries_of(store.directory()), (std::vector<std::string>{"step-000000001"}));
}

TEST(CheckpointStore, DraftThatFailedOnceCannotBePublished) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints");
  CheckpointDraft draft = store.begin(1);
  store.on_syscall = [](const io::Syscall& call) { return call.name == "write" ? EIO : 0; };
  EXPECT_THROW(draft.add_text("state.json", "{}"), IoError);
  store.on_syscall = {};
  EXPECT_THROW(draft.add_text("state.json", "{}"), c10::Error);
  EXPECT_THROW(draft.publish(), c10::Error);
  EXPECT_EQ(store.steps(), Steps{});
}

// Goes on from the newest checkpoint for ever, and reports each one that publish acknowledged.
int publish_for_ever(const fs::path& directory, int reports) {
  CheckpointStore store(directory, {.keep_last = 3});
  store.clean();
  const auto newest = store.newest_valid();
  for (int64_t step = newest ? step_inside(*newest) + 1 : 1;; ++step) {
    publish(store, step);
    if (::write(reports, &step, sizeof step) != sizeof step) return 1;
    store.retain();
  }
}

TEST(CheckpointStore, RandomKillsLoseNoAcknowledgedCheckpoint) {
  const TemporaryFolder run(memory_folder());
  const fs::path directory = run / "checkpoints";
  RngStream random(rng_key(0, kTestPurpose), 3);
  int64_t acknowledged = 0;
  for (int kill = 0; kill < 30; ++kill) {
    int reports[2];
    ASSERT_EQ(::pipe(reports), 0);
    const pid_t child = start_child([&] { return publish_for_ever(directory, reports[1]); });
    ::close(reports[1]);
    // Every third life is long enough to publish whatever the disk's speed: it is killed some time
    // after its first report.
    if (kill % 3 == 0) {
      ASSERT_EQ(::read(reports[0], &acknowledged, sizeof acknowledged),
                static_cast<ssize_t>(sizeof acknowledged));
    }
    ::usleep(random.below(60000));
    ::kill(child, SIGKILL);
    ASSERT_EQ(wait_for(child), -SIGKILL);
    int64_t step = 0;
    while (::read(reports[0], &step, sizeof step) == static_cast<ssize_t>(sizeof step)) {
      ASSERT_GT(step, acknowledged);  // a life goes on after the one before
      acknowledged = step;
    }
    ::close(reports[0]);

    CheckpointStore store(directory);
    expect_all_valid(store);
    const Steps steps = store.steps();
    ASSERT_FALSE(steps.empty());
    ASSERT_TRUE(steps[0] == acknowledged || steps[0] == acknowledged + 1) << steps[0];
    for (size_t i = 1; i < 3 && steps[0] > static_cast<int64_t>(i); ++i) {
      ASSERT_GT(steps.size(), i);
      ASSERT_EQ(steps[i], steps[0] - static_cast<int64_t>(i));
    }
  }
  EXPECT_GE(acknowledged, 10);
}

}  // namespace
}  // namespace ddpm::checkpoint
