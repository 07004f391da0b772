#include "ddpm/checkpoint/store.h"

#include "ddpm/base/error.h"
#include "ddpm/base/rng.h"
#include "tests/base/test_purpose.h"
#include "tests/checkpoint/child_process.h"
#include "tests/io/temporary_folder.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
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

namespace fs = std::filesystem;
using Steps = std::vector<int64_t>;

// A checkpoint whose content tells its step.
fs::path publish(CheckpointStore& store, int64_t step) {
  CheckpointDraft draft = store.begin(step);
  draft.add_tensors("model.safetensors", {{"weight", torch::full({8}, step)}}, {{"format", "pt"}});
  draft.add_text("state.json", "{\"step\": " + std::to_string(step) + "}\n");
  return draft.publish();
}

int64_t step_inside(const fs::path& checkpoint) {
  return io::read_safetensors(checkpoint / "model.safetensors")[0].tensor[7].item<int64_t>();
}

void flip_bit(const fs::path& path, uint64_t byte, int bit) {
  std::vector<uint8_t> content = io::read_file(path);
  content.at(byte) ^= static_cast<uint8_t>(1 << bit);
  io::OutputFile(path).write(content);
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const IoError& error) {
    return error.what();
  }
  return "no error";
}

std::vector<std::string> entries_of(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool has_leftovers(const fs::path& directory) {
  const std::vector<std::string> names = entries_of(directory);
  return std::any_of(names.begin(), names.end(), [](const auto& name) { return name[0] == '.'; });
}

// Every published checkpoint is intact and holds the step that its name says.
void expect_all_valid(const CheckpointStore& store) {
  for (const int64_t step : store.steps()) {
    ASSERT_EQ(CheckpointStore::verify(store.folder_of(step)).problem, "") << step;
    ASSERT_EQ(step_inside(store.folder_of(step)), step);
  }
}

TEST(CheckpointStore, PublishedCheckpointHoldsItsFilesAndAManifestOfThem) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints");
  const fs::path checkpoint = publish(store, 12000);
  EXPECT_EQ(checkpoint, run / "checkpoints/step-000012000");
  EXPECT_EQ(entries_of(run / "checkpoints"), (std::vector<std::string>{"step-000012000"}));
  EXPECT_EQ(entries_of(checkpoint),
            (std::vector<std::string>{"MANIFEST", "model.safetensors", "state.json"}));
  EXPECT_EQ(io::read_text(checkpoint / "state.json"), "{\"step\": 12000}\n");
  EXPECT_EQ(step_inside(checkpoint), 12000);

  const Verification verification = CheckpointStore::verify(checkpoint);
  EXPECT_EQ(verification.problem, "");
  EXPECT_EQ(verification.step, 12000);
  const std::vector<CheckpointFile> files = {
      {"model.safetensors", io::file_sum(checkpoint / "model.safetensors")},
      {"state.json", io::file_sum(checkpoint / "state.json")}};
  EXPECT_EQ(verification.files, files);
}

// SIGKILL cannot show a missing fsync, for the page cache survives it; this order can.
TEST(CheckpointStore, ContentIsSyncedBeforeTheNameAndTheNameBeforePublishReturns) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints", {.keep_last = 1});
  publish(store, 1);
  std::vector<std::string> calls;
  store.on_syscall = [&](const io::Syscall& call) {
    if (call.done) calls.push_back(std::string(call.name) + " " + call.path.filename().string());
    return 0;
  };
  publish(store, 2);
  store.retain();
  const std::string pid = std::to_string(::getpid());
  const std::string draft = ".tmp-step-000000002-" + pid, doomed = ".del-step-000000001-" + pid;
  // A short file takes one write; a safetensors file one for its header and one a tensor.
  const std::vector<std::string> expected = {
      "mkdir " + draft,          "open model.safetensors",  "write model.safetensors",
      "write model.safetensors", "fsync model.safetensors", "close model.safetensors",
      "open state.json",         "write state.json",        "fsync state.json",
      "close state.json",        "open MANIFEST",           "write MANIFEST",
      "fsync MANIFEST",          "close MANIFEST",          "fsync_dir " + draft,
      "rename step-000000002",   "fsync_dir checkpoints",   "rename " + doomed,
      "fsync_dir checkpoints"};
  ASSERT_GT(calls.size(), expected.size());
  const std::vector<std::string> removal(calls.begin() + static_cast<int64_t>(expected.size()),
                                         calls.end());
  calls.resize(expected.size());
  EXPECT_EQ(calls, expected);
  EXPECT_EQ(removal.size(), 4u);  // three files and their folder
  EXPECT_EQ(removal.back(), "rmdir " + doomed);
}

TEST(CheckpointStore, UnpublishedDraftLeavesNothing) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints");
  {
    CheckpointDraft draft = store.begin(1);
    draft.add_text("state.json", "{}");
    CheckpointDraft moved = std::move(draft);
    EXPECT_TRUE(has_leftovers(store.directory()));
    EXPECT_EQ(store.steps(), Steps{});
  }
  EXPECT_FALSE(has_leftovers(store.directory()));
}

TEST(CheckpointStore, ProgrammerErrorsAreCaught) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints");
  CheckpointDraft draft = store.begin(1);
  draft.add_text("state.json", "{}");
  for (const std::string name : {"state.json", "../x", "a/b", "MANIFEST", "", ".hidden", "a\nb"}) {
    EXPECT_THROW(draft.add_text(name, ""), c10::Error) << name;
  }
  draft.publish();
  EXPECT_THROW(draft.publish(), c10::Error);
  EXPECT_THROW(draft.add_text("late.json", ""), c10::Error);
  EXPECT_THROW(store.begin(-1), c10::Error);
  EXPECT_THROW(CheckpointStore(run / "c", {.keep_last = 0}), c10::Error);
}

TEST(CheckpointStore, StepsAreListedNewestFirstAndForeignNamesIgnored) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints");
  EXPECT_EQ(store.steps(), Steps{});
  for (const int64_t step : {5, 1234567890, 300, 0}) publish(store, step);
  for (const char* name : {"step-7", "step-0000000xx", "step-0000000008", ".tmp-step-000000009-1",
                           "step--00000001", "best"}) {
    fs::create_directory(store.directory() / name);
  }
  io::write_file_synced(store.directory() / "step-000000010", "a file");
  EXPECT_EQ(store.steps(), (Steps{1234567890, 300, 5, 0}));
}

TEST(CheckpointStore, IntactCheckpointIsNeverOverwritten) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints");
  publish(store, 5);
  EXPECT_NE(error_of([&] { store.begin(5); }).find("step-000000005: exists already"),
            std::string::npos);
  expect_all_valid(store);
}

TEST(CheckpointStore, DamagedCheckpointOfTheSameStepIsReplaced) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints");
  flip_bit(publish(store, 5) / "state.json", 0, 0);
  publish(store, 5);
  EXPECT_EQ(store.steps(), Steps{5});
  expect_all_valid(store);
  EXPECT_FALSE(has_leftovers(store.directory()));
}

TEST(CheckpointStore, RetentionKeepsTheNewestAndTheMilestones) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints", {.keep_last = 2, .keep_every = 30});
  for (int64_t step = 10; step <= 90; step += 10) {
    publish(store, step);
    store.retain();
  }
  EXPECT_EQ(store.steps(), (Steps{90, 80, 60, 30}));
  EXPECT_FALSE(has_leftovers(store.directory()));
}

TEST(CheckpointStore, DamagedCheckpointsDoNotCountForRetention) {
  const TemporaryFolder run;
  const fs::path directory = run / "checkpoints";
  {
    CheckpointStore store(directory, {.keep_last = 9});
    for (int64_t step = 1; step <= 6; ++step) publish(store, step);
  }
  for (const int64_t step : {4, 5, 6}) {
    flip_bit(directory / ("step-00000000" + std::to_string(step)) / "model.safetensors", 30, 3);
  }
  CheckpointStore store(directory, {.keep_last = 1});
  store.retain();
  EXPECT_EQ(store.steps(), (Steps{6, 5, 4, 3}));
  publish(store, 7);
  store.retain();
  EXPECT_EQ(store.steps(), Steps{7});
}

TEST(CheckpointStore, RetentionNeverLeavesNothingValid) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints", {.keep_last = 1});
  for (const int64_t step : {1, 2, 3}) {
    CheckpointStore writer(run / "checkpoints");
    flip_bit(publish(writer, step) / "MANIFEST", 20, 1);
  }
  store.retain();
  EXPECT_EQ(store.steps(), (Steps{3, 2, 1}));
}

TEST(CheckpointStore, TheLastOnePublishedStaysEvenWhereOthersAreNewer) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints", {.keep_last = 1});
  publish(store, 100);
  publish(store, 50);
  store.retain();
  EXPECT_EQ(store.steps(), (Steps{100, 50}));
}

TEST(CheckpointStore, CleanRemovesLeftoversAndNothingElse) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints");
  EXPECT_NO_THROW(store.clean());
  publish(store, 1);
  for (const char* name : {".tmp-step-000000002-99", ".del-step-000000001-7", ".hidden", "notes"}) {
    fs::create_directories(store.directory() / name / "inner");
  }
  store.clean();
  EXPECT_EQ(entries_of(store.directory()),
            (std::vector<std::string>{".hidden", "notes", "step-000000001"}));
  expect_all_valid(store);
}

TEST(CheckpointStore, NewestIntactOneIsChosenAndTheDamagedNewerOnesAreNamed) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints");
  EXPECT_EQ(store.newest_valid(), std::nullopt);
  for (const int64_t step : {1, 2, 3}) publish(store, step);
  flip_bit(store.folder_of(3) / "model.safetensors", 100, 5);
  fs::remove(store.folder_of(2) / "state.json");
  std::vector<std::string> reports;
  const auto newest = store.newest_valid([&](const fs::path& path, const std::string& problem) {
    reports.push_back(path.filename().string() + ": " + problem);
  });
  EXPECT_EQ(newest, store.folder_of(1));
  ASSERT_EQ(reports.size(), 2u);
  EXPECT_TRUE(reports[0].starts_with("step-000000003: model.safetensors has checksum "));
  EXPECT_EQ(reports[1], "step-000000002: state.json is missing");
}

TEST(CheckpointStore, VerificationNamesTheFileAndWhatIsWrong) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints", {.keep_last = 9});
  const auto problem_after = [&](const std::function<void(const fs::path&)>& damage) {
    static int64_t step = 0;
    const fs::path checkpoint = publish(store, ++step);
    damage(checkpoint);
    return CheckpointStore::verify(checkpoint).problem;
  };
  EXPECT_EQ(problem_after([](const fs::path& c) { fs::remove(c / "MANIFEST"); }),
            "MANIFEST is missing");
  EXPECT_EQ(problem_after([](const fs::path& c) { fs::resize_file(c / "MANIFEST", 0); }),
            "MANIFEST: is damaged");
  EXPECT_EQ(problem_after([](const fs::path& c) { flip_bit(c / "MANIFEST", 60, 2); }),
            "MANIFEST: is damaged");
  EXPECT_EQ(problem_after([](const fs::path& c) {
              io::write_file_synced(c / "MANIFEST", "ddpm-checkpoint 2\nnew\n");
            }),
            "MANIFEST: is of another format, 'ddpm-checkpoint 2', than this program's, "
            "'ddpm-checkpoint 1'");
  EXPECT_EQ(problem_after([](const fs::path& c) { fs::remove(c / "state.json"); }),
            "state.json is missing");
  EXPECT_EQ(problem_after([](const fs::path& c) { fs::resize_file(c / "state.json", 3); }),
            "state.json has 3 bytes instead of 12");
  const fs::path renamed = run / "checkpoints/step-000000900";
  EXPECT_EQ(problem_after([&](const fs::path& c) { fs::rename(c, renamed); }),
            "MANIFEST is missing");
  EXPECT_EQ(CheckpointStore::verify(renamed).problem, "MANIFEST is that of step 7");
  EXPECT_EQ(CheckpointStore::verify(run / "no").problem, "MANIFEST is missing");
}

TEST(CheckpointStore, CopyUnderAnyOtherNameIsIntact) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints");
  fs::copy(publish(store, 1), run / "best", fs::copy_options::recursive);
  EXPECT_TRUE(CheckpointStore::verify(run / "best").ok());
}

TEST(CheckpointStore, EveryBitFlipAndTruncationOfEveryFileIsDetected) {
  const TemporaryFolder run(memory_folder());
  CheckpointStore store(run / "checkpoints");
  const fs::path checkpoint = publish(store, 1);
  RngStream random(rng_key(0, kTestPurpose), 2);
  for (const std::string name : {"model.safetensors", "state.json", "MANIFEST"}) {
    const std::vector<uint8_t> intact = io::read_file(checkpoint / name);
    for (int i = 0; i < 200; ++i) {
      std::vector<uint8_t> damaged = intact;
      const uint32_t place = random.below(static_cast<uint32_t>(intact.size()));
      if (i % 4 == 0) {
        damaged.resize(place);
      } else {
        damaged[place] ^= static_cast<uint8_t>(1u << random.below(8));
      }
      io::OutputFile(checkpoint / name).write(damaged);
      const std::string problem = CheckpointStore::verify(checkpoint).problem;
      ASSERT_NE(problem.find(name), std::string::npos) << i << ' ' << place << ' ' << problem;
    }
    io::OutputFile(checkpoint / name).write(intact);
    ASSERT_TRUE(CheckpointStore::verify(checkpoint).ok());
  }
}

TEST(CheckpointStore, TooLittleRoomIsSaidBeforeAnythingIsWritten) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints");
  publish(store, 1);
  const std::string message = error_of([&] { store.begin(2, uint64_t{1} << 62); });
  EXPECT_NE(message.find("a checkpoint needs 4.61 EB, but only "), std::string::npos) << message;
  EXPECT_EQ(entries_of(store.directory()), (std::vector<std::string>{"step-000000001"}));
}

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

TEST(ResolveCheckpoint, AcceptsACheckpointARunAndAFolderOfRuns) {
  const TemporaryFolder root;
  CheckpointStore a(root / "runs/a/checkpoints"), b(root / "runs/b/checkpoints");
  fs::create_directories(root / "runs/c/checkpoints");  // a run that has not saved yet
  io::write_file_synced(root / "runs/notes.txt", "x");
  publish(b, 10);
  publish(b, 20);
  publish(a, 5);
  const auto earlier = fs::last_write_time(a.folder_of(5)) - std::chrono::hours(1);
  fs::last_write_time(b.folder_of(20), earlier);
  EXPECT_EQ(resolve_checkpoint(b.folder_of(10)), b.folder_of(10));
  EXPECT_EQ(resolve_checkpoint(b.folder_of(10).string() + "/"), b.folder_of(10));
  EXPECT_EQ(resolve_checkpoint(root / "runs/b"), b.folder_of(20));
  EXPECT_EQ(resolve_checkpoint(root / "runs/b/"), b.folder_of(20));
  EXPECT_EQ(resolve_checkpoint(b.directory()), b.folder_of(20));
  EXPECT_EQ(resolve_checkpoint(root / "runs"), a.folder_of(5));
}

TEST(ResolveCheckpoint, RunFallsBackToItsNewestIntactCheckpoint) {
  const TemporaryFolder root;
  CheckpointStore store(root / "run/checkpoints");
  publish(store, 1);
  flip_bit(publish(store, 2) / "state.json", 1, 1);
  std::string damaged;
  const auto report = [&](const fs::path& path, const std::string&) { damaged = path.filename(); };
  EXPECT_EQ(resolve_checkpoint(root / "run", report), store.folder_of(1));
  EXPECT_EQ(damaged, "step-000000002");
}

TEST(ResolveCheckpoint, DamagedCheckpointNamedByItselfIsAnError) {
  const TemporaryFolder root;
  CheckpointStore store(root / "run/checkpoints");
  publish(store, 1);
  flip_bit(publish(store, 2) / "state.json", 1, 1);
  EXPECT_NE(error_of([&] {
              resolve_checkpoint(store.folder_of(2));
            }).find("step-000000002: is damaged: state.json has checksum "),
            std::string::npos);
  fs::remove(store.folder_of(2) / "MANIFEST");
  EXPECT_NE(error_of([&] {
              resolve_checkpoint(store.folder_of(2));
            }).find("step-000000002: is damaged: MANIFEST is missing"),
            std::string::npos);
}

TEST(ResolveCheckpoint, ErrorsSayWhatIsMissing) {
  const TemporaryFolder root;
  const std::string path = root.path().string();
  EXPECT_EQ(error_of([&] { resolve_checkpoint(root / "no"); }), path + "/no: does not exist");
  io::write_file_synced(root / "file", "x");
  EXPECT_EQ(
      error_of([&] { resolve_checkpoint(root / "file"); }),
      path + "/file: is not a folder; name a checkpoint's folder, a run's or the folder of runs");
  EXPECT_EQ(error_of([&] { resolve_checkpoint(root.path()); }),
            path + ": holds no checkpoint, neither of a run nor of runs below it");
  fs::create_directories(root / "run/checkpoints");
  EXPECT_EQ(error_of([&] { resolve_checkpoint(root / "run"); }),
            path + "/run/checkpoints: holds no checkpoint");
  CheckpointStore store(root / "run/checkpoints");
  flip_bit(publish(store, 1) / "state.json", 0, 0);
  EXPECT_NE(
      error_of([&] {
        resolve_checkpoint(root / "run");
      }).find("holds no intact checkpoint; the newest is damaged, step-000000001: state.json"),
      std::string::npos);
}

TEST(Manifest, IsReadBackAndRefusesEveryOtherText) {
  const Manifest manifest{12000, {{"model.safetensors", {143005184, 0x9AE0DAAF}}, {"a", {0, 0}}}};
  const std::string text = to_text(manifest);
  EXPECT_TRUE(
      text.starts_with("ddpm-checkpoint 1\nstep 12000\nfile 143005184 9ae0daaf "
                       "model.safetensors\nfile 0 00000000 a\n"
                       "crc32c "));
  const Manifest back = parse_manifest("M", text);
  EXPECT_EQ(back.step, 12000);
  EXPECT_EQ(back.files, manifest.files);
  for (size_t i = 0; i < text.size(); ++i) {
    EXPECT_THROW(parse_manifest("M", text.substr(0, i)), IoError) << i;
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = text;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      EXPECT_THROW(parse_manifest("M", damaged), IoError) << i << ' ' << bit;
    }
  }
  EXPECT_THROW(parse_manifest("M", text + "\n"), IoError);
}

// With a checksum that fits: a manifest may not reach outside its folder.
TEST(Manifest, FileNamesStayInTheFolder) {
  for (const std::string name : {"../x", "/etc/passwd", "a/b", "."}) {
    EXPECT_THROW(parse_manifest("M", to_text({1, {{name, {0, 0}}}})), IoError) << name;
  }
}

}  // namespace
}  // namespace ddpm::checkpoint
