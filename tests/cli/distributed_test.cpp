#include "tests/cli/distributed_fixture.h"
#include "tests/io/fixtures.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <string>
#include <thread>

#include <signal.h>
#include <torch/types.h>

namespace ddpm {
namespace {

// The value of "loss" in the last line of a metrics file.
double last_loss(const std::string& text) {
  return std::stod(text.substr(text.rfind("\"loss\":") + 7));
}

TEST_F(Distributed, OneTwoAndFourProcessesTrainTheSameNetwork) {
  train_alone("one");
  for (const int ranks : {2, 4}) {
    const std::string out = "on-" + std::to_string(ranks);
    train_on(ranks, out);
    expect_close(checkpoint("one", 12), checkpoint(out, 12));
    const double d = difference(checkpoint("one", 12) / "model.safetensors",
                                checkpoint(out, 12) / "model.safetensors");
    std::printf("1 and %d processes: weights differ by %.2g\n", ranks, d);
    // The loss is that of all images, not of rank 0's.
    EXPECT_NEAR(last_loss(metrics(out)), last_loss(metrics("one")), 1e-9);
    EXPECT_NE(io::read_text(checkpoint(out, 12) / "state.json")
                  .find("\"world_size\": " + std::to_string(ranks)),
              std::string::npos);
  }
  // That the comparison can fail: a step less, and half of the batch.
  EXPECT_GT(difference(checkpoint("one", 12) / "model.safetensors",
                       checkpoint("one", 8) / "model.safetensors"),
            1e-4);
  train_alone("half", {"--set", "train.batch_size=4"});
  EXPECT_GT(difference(checkpoint("one", 12) / "model.safetensors",
                       checkpoint("half", 12) / "model.safetensors"),
            1e-4);
}

TEST_F(Distributed, FiftyStepsAgreeInBothPrecisions) {
  for (const auto& [precision, tolerance] : {std::pair{"fp64", 1e-10}, std::pair{"fp32", 1e-5}}) {
    const std::vector<std::string> more{"--set", "train.steps=50",
                                        "--set", std::string("train.precision=") + precision,
                                        "--set", "train.checkpoint_every=50"};
    const std::string name = precision;
    train_alone(name, more);
    for (const int ranks : {2, 4}) {
      const std::string out = name + "-on-" + std::to_string(ranks);
      train_on(ranks, out, more);
      const double found = relative_difference(checkpoint(name, 50) / "model.safetensors",
                                               checkpoint(out, 50) / "model.safetensors");
      EXPECT_LE(found, tolerance) << out;
      std::printf("%s, 1 and %d processes, 50 steps: %.2g\n", precision, ranks, found);
    }
  }
}

TEST_F(Distributed, TheSameRunTwiceIsBitEqual) {
  train_on(2, "a", {"--set", "model.dropout=0.1"});
  train_on(2, "b", {"--set", "model.dropout=0.1"});
  expect_same_tensors(checkpoint("a", 12), checkpoint("b", 12));
}

TEST_F(Distributed, DividedOptimizerStateGivesTheSameBitsAndTheSameCheckpoint) {
  const std::vector<std::string> divided{"--set", "train.shard_optimizer=true"};
  for (const int ranks : {2, 3}) {
    const std::vector<std::string> batch{"--set", "train.batch_size=12",
                                         "--set", "ema.power_lengths=0.1",
                                         "--set", "ema.snapshot_every=4"};
    const std::string out = "on-" + std::to_string(ranks);
    std::vector<std::string> both = divided;
    both.insert(both.end(), batch.begin(), batch.end());
    train_on(ranks, out, batch);
    train_on(ranks, out + "-divided", both);
    expect_same_tensors(checkpoint(out, 12), checkpoint(out + "-divided", 12));
    // A resume divides what the checkpoint holds, also where the run was not divided before.
    for (const int64_t step : {8, 12}) std::filesystem::remove_all(checkpoint(out, step));
    train_on(ranks, out, both);
    expect_same_tensors(checkpoint(out, 12), checkpoint(out + "-divided", 12));
    for (const char* file : {"checkpoints/step-000000012/power-0.1.safetensors",
                             "ema_snapshots/step-000000004/power-0.1.safetensors",
                             "ema_snapshots/step-000000012/power-0.1.safetensors"})
      EXPECT_EQ(io::read_file(folder_ / out / file),
                io::read_file(folder_ / (out + "-divided") / file))
          << file;
  }
}

TEST_F(Distributed, ARunOfTwoGoesOnWithFourAndWithOne) {
  train_alone("whole", {"--set", "train.steps=20"});
  train_on(2, "changed", {"--set", "train.steps=20"});
  for (const int64_t step : {12, 16, 20}) std::filesystem::remove_all(checkpoint("changed", step));
  train_on(4, "changed", {"--set", "train.steps=20"});  // from step 8
  expect_close(checkpoint("whole", 12), checkpoint("changed", 12));
  expect_close(checkpoint("whole", 20), checkpoint("changed", 20));
  std::filesystem::remove_all(checkpoint("changed", 20));
  train_alone("changed", {"--set", "train.steps=20"});  // from step 16
  expect_close(checkpoint("whole", 20), checkpoint("changed", 20));
}

TEST_F(Distributed, ASignalToOneProcessStopsAllAtOneStepWithOneCheckpoint) {
  const std::vector<std::string> more{"--set", "train.steps=100000", "--set",
                                      "train.checkpoint_every=100000"};
  for (const int target : {0, 1}) {
    const std::string out = "stopped-" + std::to_string(target);
    const Processes processes = start(2, out, more);
    ASSERT_TRUE(processes[0]->wait_for_message("network:"));
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    for (int i = 0; i < 3; ++i) processes[target]->send(SIGTERM);
    for (const auto& process : processes) {
      const ProgramResult result = process->wait();
      EXPECT_EQ(result.status, 75) << result.err;
    }
    int checkpoints = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / (out + "/checkpoints")))
      checkpoints += entry.path().filename().string().starts_with("step-");
    EXPECT_EQ(checkpoints, 1);
  }
}

TEST_F(Distributed, AKilledProcessEndsTheOthersWithAnErrorAndTheRunGoesOn) {
  const std::vector<std::string> more{"--set", "train.steps=100"};
  train_on(2, "whole", more);
  const Processes processes = start(2, "killed", more);
  ASSERT_TRUE(processes[0]->wait_for_message("step 40: saved"));
  processes[1]->send(SIGKILL);
  const ProgramResult survivor = processes[0]->wait();
  EXPECT_EQ(survivor.status, 1);
  EXPECT_NE(survivor.err.find("error: rank 0 of 2 waited up to 600 s for the other ranks"),
            std::string::npos)
      << survivor.err;
  train_on(2, "killed", more);
  expect_same_tensors(checkpoint("whole", 100), checkpoint("killed", 100));
}

TEST_F(Distributed, ATimeLimitStopsAllAtOneStep) {
  const Processes processes =
      start(2, "run", {"--set", "train.steps=100000000", "--time-limit", "3"});
  for (const auto& process : processes) {
    const ProgramResult result = process->wait();
    EXPECT_EQ(result.status, 75) << result.err;
  }
  EXPECT_TRUE(std::filesystem::exists(folder_ / "run/checkpoints"));
}

TEST_F(Distributed, AFailedSaveIsKnownToAllAndThreeInARowStopThem) {
  // Saves fail where a file stands in the place of the folder of checkpoints.
  std::filesystem::create_directories(folder_ / "run");
  io::write_file_synced(folder_ / "run/checkpoints", std::string_view("in the way"));
  const Processes processes = start(2, "run", {"--set", "train.steps=1000"});
  for (size_t rank = 0; rank < 2; ++rank) {
    const ProgramResult result = processes[rank]->wait();
    EXPECT_EQ(result.status, 1);
    EXPECT_NE(result.err.find("3 saves in a row failed; training stops"), std::string::npos)
        << "rank " << rank << ": " << result.err;
  }
}

TEST_F(Distributed, RankZerosFailureIsKnownToAll) {
  train_alone("run");
  const Processes processes = start(2, "run", {"--resume", "never"});
  const ProgramResult main = processes[0]->wait(), other = processes[1]->wait();
  EXPECT_EQ(main.status, 1);
  EXPECT_NE(main.err.find("already holds checkpoints"), std::string::npos) << main.err;
  EXPECT_EQ(other.status, 1);
  EXPECT_NE(other.err.find("rank 0 failed to find the checkpoint to continue from"),
            std::string::npos)
      << other.err;
}

TEST_F(Distributed, AnImageThatOneProcessCannotReadStopsAllAfterASave) {
  for (int i = 10; i < 50; ++i) {
    fixtures::write(folder_ / ("set/" + std::to_string(i) + ".pgm"),
                    fixtures::flat_pnm(8, 8, 1, 5 * (i - 10)));
  }
  fixtures::Bytes cut = fixtures::flat_pnm(300, 300, 1, 10);
  cut.resize(70000);  // its header is sound: only decoding finds out
  fixtures::write(folder_ / "set/49.pgm", cut);
  // With seed 1 the damaged one is not in the first batch.
  const Processes processes = start(
      2, "run",
      {"--set", "data.kind=folder", "--set", "data.path=set", "--set", "data.image_size=8", "--set",
       "data.holdout=0", "--set", "run.seed=1", "--set", "train.checkpoint_every=1000"});
  const ProgramResult main = processes[0]->wait(), other = processes[1]->wait();
  EXPECT_EQ(main.status, 1);
  EXPECT_EQ(other.status, 1);
  const auto says = [](const ProgramResult& result, const char* text) {
    return result.err.find(text) != std::string::npos;
  };
  constexpr const char* kOwn = "set/49.pgm: is not a readable image";
  constexpr const char* kOther = "another rank could not read an image";
  EXPECT_TRUE((says(main, kOwn) && says(other, kOther)) ||
              (says(main, kOther) && says(other, kOwn)))
      << main.err << other.err;
  EXPECT_TRUE(says(main, "once the data is mended")) << main.err;
}

TEST_F(Distributed, HowABatchIsSharedIsSaidAndWhatCannotBeIsRefusedWithTheNearestSizes) {
  const Processes two = start(2, "shared");
  const ProgramResult main = two[0]->wait();
  EXPECT_NE(main.err.find("batch 8 (2 processes x 2 rounds x 2 images)"), std::string::npos)
      << main.err;
  const Processes processes = start(3, "run");
  for (const auto& process : processes) {
    const ProgramResult result = process->wait();
    EXPECT_EQ(result.status, 2);
    EXPECT_NE(result.err.find("is 8, which is not divisible by 3 processes x 2 accumulation "
                              "rounds; use 6 or 12"),
              std::string::npos)
        << result.err;
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
}

TEST_F(Distributed, SeveralProcessesDrawTheSamePicturesAsOne) {
  train_alone("run");
  const auto draw = [&](int ranks, const std::string& out, std::vector<std::string> more = {}) {
    std::vector<std::string> words{"sample", "--ckpt",  "run", "--num", "11", "--batch",
                                   "2",      "--steps", "4",   "--out", out};
    words.insert(words.end(), more.begin(), more.end());
    Processes processes;
    const std::string port = std::to_string(free_port());
    for (int rank = 0; rank < ranks; ++rank)
      processes.push_back(
          std::make_unique<Program>(folder_.path(), words, rank_environment(rank, ranks, port)));
    std::vector<ProgramResult> results;
    for (const auto& process : processes) results.push_back(process->wait());
    return results;
  };
  const auto picture = [&](const std::string& out, const std::string& name) {
    return io::read_file(folder_ / out / name);
  };
  ASSERT_EQ(draw(1, "one")[0].status, 0);
  for (const int ranks : {2, 4}) {
    const std::string out = "on-" + std::to_string(ranks);
    for (const ProgramResult& result : draw(ranks, out)) EXPECT_EQ(result.status, 0) << result.err;
    for (int i = 0; i < 11; ++i) {
      const std::string name = (i < 10 ? "00000" : "0000") + std::to_string(i) + ".png";
      EXPECT_EQ(picture("one", name), picture(out, name)) << name;
    }
    EXPECT_EQ(io::read_file(folder_ / "one-grid.png"),
              io::read_file(folder_ / (out + "-grid.png")));
  }
  // What is missing is drawn by whoever's it is.
  std::filesystem::remove(folder_ / "on-2/000003.png");
  const auto results = draw(2, "on-2", {"--continue"});
  EXPECT_NE(results[0].err.find("1 images in"), std::string::npos) << results[0].err;
  const auto refused = draw(2, "on-2", {"--trajectory"});
  EXPECT_EQ(refused[1].status, 2);
  EXPECT_NE(refused[0].err.find("--trajectory works in a single process, but 2 were started"),
            std::string::npos)
      << refused[0].err;
  EXPECT_NE(draw(2, "on-2", {"--animate"})[0].err.find("--animate works in a single process"),
            std::string::npos);
}

// The launcher of the LibTorch that the program is built with; "" where that is no Python package.
std::string torchrun() {
  const char* cache = std::getenv("DDPM_CACHE");
  const char* home = std::getenv("HOME");
  const std::filesystem::path root =
      cache != nullptr ? std::filesystem::path(cache)
                       : std::filesystem::path(home != nullptr ? home : "/") / ".cache/ddpm";
  const std::filesystem::path path = root / "torch-2.11.0/bin/torchrun";
  return std::filesystem::exists(path) ? path.string() : "";
}

TEST_F(Distributed, UnderTorchrun) {
  if (torchrun().empty()) GTEST_SKIP() << "there is no torchrun below DDPM_CACHE or ~/.cache/ddpm";
  train_alone("one");
  std::vector<std::string> words{"--no-python",
                                 "--nnodes=1",
                                 "--nproc-per-node=2",
                                 "--rdzv-backend=c10d",
                                 "--rdzv-endpoint=localhost:0",
                                 "--local-addr=127.0.0.1",
                                 DDPM_PROGRAM};
  for (const std::string& word : command("run", {})) words.push_back(word);
  Program program(folder_.path(), words, {}, torchrun());
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.err.find("2 processes (torchrun), 2 on this machine; rank 0 on cpu"),
            std::string::npos)
      << result.err;
  expect_close(checkpoint("one", 12), checkpoint("run", 12));
}

}  // namespace
}  // namespace ddpm
