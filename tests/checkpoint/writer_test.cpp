#include "ddpm/checkpoint/content.h"
#include "ddpm/io/safetensors.h"
#include "tests/io/temporary_folder.h"

#include <chrono>
#include <future>
#include <thread>

#include <gtest/gtest.h>
#include <torch/utils.h>

namespace ddpm::checkpoint {
namespace {

CheckpointContent content_of(int64_t step, const torch::Tensor& weight) {
  CheckpointContent content;
  content.step = step;
  content.tensors.emplace_back("model.safetensors",
                               std::vector<io::NamedTensor>{{"weight", weight}});
  content.texts.emplace_back("state.json", "{}");
  return content;
}

TEST(CheckpointWriter, TheCallerGoesOnWhileTheDiskIsStillBusy) {
  const TemporaryFolder folder;
  CheckpointStore store(folder / "checkpoints");
  std::promise<void> disk;
  auto ready = disk.get_future().share();
  store.on_syscall = [&](const io::Syscall&) {
    ready.wait();
    return 0;
  };
  CheckpointWriter writer(store);
  writer.start(content_of(3, torch::ones({4})));
  EXPECT_TRUE(writer.busy());
  EXPECT_FALSE(writer.poll()) << "the first system call has not returned";
  disk.set_value();
  const auto outcome = writer.wait();
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->ok()) << outcome->problem;
  EXPECT_EQ(outcome->step, 3);
  EXPECT_TRUE(CheckpointStore::verify(outcome->folder).ok());
  EXPECT_FALSE(writer.busy());
  EXPECT_FALSE(writer.wait()) << "an outcome is taken once";
}

TEST(CheckpointWriter, AFailureIsAnOutcomeAndTheNextSaveSucceeds) {
  const TemporaryFolder folder;
  CheckpointStore store(folder / "checkpoints");
  store.on_syscall = [](const io::Syscall& call) { return call.name == "fsync" ? EIO : 0; };
  CheckpointWriter writer(store);
  writer.start(content_of(1, torch::ones({4})));
  const auto failed = writer.wait();
  ASSERT_TRUE(failed);
  EXPECT_FALSE(failed->ok());
  EXPECT_NE(failed->problem.find("Input/output error"), std::string::npos) << failed->problem;
  store.on_syscall = {};
  writer.start(content_of(2, torch::ones({4})));
  EXPECT_TRUE(writer.wait()->ok());
  EXPECT_EQ(store.steps(), std::vector<int64_t>{2});
}

TEST(CheckpointWriter, ItsEndWaitsForTheSaveUnderWay) {
  const TemporaryFolder folder;
  CheckpointStore store(folder / "checkpoints");
  store.on_syscall = [](const io::Syscall&) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return 0;
  };
  {
    CheckpointWriter writer(store);
    writer.start(content_of(5, torch::full({4}, 5.0)));
  }
  EXPECT_TRUE(CheckpointStore::verify(store.folder_of(5)).ok());
}

TEST(CheckpointWriter, OldCheckpointsAreRemovedAfterEachSave) {
  const TemporaryFolder folder;
  CheckpointStore store(folder / "checkpoints", {.keep_last = 2, .keep_every = 0});
  CheckpointWriter writer(store);
  for (int64_t step = 1; step <= 4; ++step) {
    writer.start(content_of(step, torch::ones({4})));
    ASSERT_TRUE(writer.wait()->ok());
  }
  EXPECT_EQ(store.steps(), (std::vector<int64_t>{4, 3}));
}

}  // namespace
}  // namespace ddpm::checkpoint
