#include "ddpm/checkpoint/store.h"

#include "ddpm/base/error.h"
#include "ddpm/base/rng.h"
#include "tests/base/test_purpose.h"
#include "tests/checkpoint/published.h"
#include "tests/io/temporary_folder.h"

#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

namespace ddpm::checkpoint {
namespace {

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

TEST(CheckpointStore, RemovesWhatIsLaterThanAStep) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints");
  store.remove_after(0);
  EXPECT_FALSE(fs::exists(store.directory()));
  for (const int64_t step : {2, 4, 6}) publish(store, step);
  store.remove_after(6);
  EXPECT_EQ(store.steps(), (Steps{6, 4, 2}));
  store.remove_after(3);
  EXPECT_EQ(store.steps(), Steps{2});
  EXPECT_FALSE(has_leftovers(store.directory()));
  publish(store, 4);
  expect_all_valid(store);
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

}  // namespace
}  // namespace ddpm::checkpoint
