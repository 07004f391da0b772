#include "ddpm/base/error.h"
#include "ddpm/checkpoint/store.h"
#include "tests/checkpoint/published.h"
#include "tests/io/temporary_folder.h"

#include <chrono>
#include <string>

#include <gtest/gtest.h>

namespace ddpm::checkpoint {
namespace {

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

TEST(RunOf, IsTheFolderAboveCheckpointsOrBest) {
  const TemporaryFolder root;
  CheckpointStore store(root / "run/checkpoints");
  const fs::path checkpoint = publish(store, 1);
  EXPECT_EQ(run_of(checkpoint), root / "run");
  EXPECT_EQ(run_of(root / "run/best"), root / "run");
  EXPECT_EQ(run_of(root / "best"), "");
  EXPECT_EQ(run_of(root / "run/copy"), "");
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

}  // namespace
}  // namespace ddpm::checkpoint
