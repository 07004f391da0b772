#include "ddpm/io/safetensors.h"
#include "tests/cli/fixture.h"
#include "tests/dist/free_port.h"
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

// Gradients are summed in another order by another number of processes: 1e-16 a sum in float64,
// which Adam's divisions and the steps make larger. Another batch or other noise shows above 1e-4.
constexpr double kTolerance = 1e-10;
constexpr double kStep = 1e-3;  // tiny.toml's optimizer.lr

class Distributed : public CliTest {
 protected:
  using Processes = std::vector<std::unique_ptr<Program>>;

  // tiny.toml without dropout, which draws by the rank, in float64.
  static std::vector<std::string> command(const std::string& out,
                                          const std::vector<std::string>& more) {
    std::vector<std::string> words{"train",           "--config", "tiny.toml",
                                   "--out",           out,        "--set",
                                   "model.dropout=0", "--set",    "train.precision=fp64"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  static std::vector<std::string> rank_environment(int rank, int ranks, const std::string& port) {
    return {"RANK=" + std::to_string(rank),
            "WORLD_SIZE=" + std::to_string(ranks),
            "LOCAL_RANK=" + std::to_string(rank),
            "LOCAL_WORLD_SIZE=" + std::to_string(ranks),
            "MASTER_ADDR=127.0.0.1",
            "MASTER_PORT=" + port};
  }

  // `ranks` processes that find each other by RANK and WORLD_SIZE, at `port` or at a free one.
  Processes start(int ranks, const std::string& out, const std::vector<std::string>& more = {},
                  std::string port = "") {
    if (port.empty()) port = std::to_string(free_port());
    Processes processes;
    for (int rank = 0; rank < ranks; ++rank) {
      processes.push_back(std::make_unique<Program>(folder_.path(), command(out, more),
                                                    rank_environment(rank, ranks, port)));
    }
    return processes;
  }

  void train_on(int ranks, const std::string& out, const std::vector<std::string>& more = {}) {
    const Processes processes = start(ranks, out, more);
    for (int rank = 0; rank < ranks; ++rank) {
      const ProgramResult result = processes[rank]->wait();
      ASSERT_EQ(result.status, 0) << "rank " << rank << ": " << result.err;
      if (rank > 0) {
        EXPECT_EQ(result.err, "") << "only rank 0 reports";
      }
    }
  }

  void train_alone(const std::string& out, const std::vector<std::string>& more = {}) {
    const ProgramResult result = run(command(out, more));
    ASSERT_EQ(result.status, 0) << result.err;
  }

  // The largest difference over a file's tensors, each relative to its largest element or, where
  // that is less, to what one step moves a weight. The keys' biases are left out: their gradient is
  // 0 (softmax ignores them), so that Adam makes whole steps of rounding errors alone.
  static double difference(const std::filesystem::path& a, const std::filesystem::path& b) {
    const auto left = io::SafetensorsFile::open(a), right = io::SafetensorsFile::open(b);
    double largest = 0.0;
    for (const auto& name : left.names()) {
      if (name.ends_with("to_k.bias")) continue;
      const torch::Tensor x = left.get(name), y = right.get(name);
      const double scale = std::max(x.abs().max().item<double>(), kStep);
      largest = std::max(largest, (x - y).abs().max().item<double>() / scale);
    }
    return largest;
  }

  // The norm of the difference of all weights over that of the weights, the keys' biases left out.
  static double relative_difference(const std::filesystem::path& a,
                                    const std::filesystem::path& b) {
    const auto left = io::SafetensorsFile::open(a), right = io::SafetensorsFile::open(b);
    double difference = 0.0, whole = 0.0;
    for (const auto& name : left.names()) {
      if (name.ends_with("to_k.bias")) continue;
      const torch::Tensor x = left.get(name).to(torch::kDouble);
      difference += (x - right.get(name).to(torch::kDouble)).square().sum().item<double>();
      whole += x.square().sum().item<double>();
    }
    return std::sqrt(difference / whole);
  }

  void expect_close(const std::filesystem::path& a, const std::filesystem::path& b) {
    for (const char* name : {"model.safetensors", "ema.safetensors", "ema-2.safetensors"}) {
      const double found = difference(a / name, b / name);
      EXPECT_LE(found, kTolerance) << name << " of " << a << " and " << b;
    }
  }

  std::string metrics(const std::string& out) {
    return io::read_text(folder_ / (out + "/metrics.jsonl"));
  }
};

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
    const std::vector<std::string> batch{"--set", "train.batch_size=12"};
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
  EXPECT_NE(other.err.find("rank 0 failed to find the checkpoint to go on from"), std::string::npos)
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

// Two that a launcher without a port of its own starts on one machine.
TEST_F(Distributed, TwoRunsAtOnePortNeverMix) {
  const std::string port = std::to_string(free_port());
  const std::vector<std::string> more{"--set", "train.steps=200", "--set", "run.peer_timeout=100"};
  std::vector<std::string> other = more;
  other.insert(other.end(), {"--set", "run.seed=1"});
  const Processes a = start(2, "a", more, port), b = start(2, "b", other, port);
  std::vector<ProgramResult> results;
  // Rank 0 that has no port is the first to end; its rank 1 follows.
  for (const auto* run : {&a, &b}) {
    for (const auto& process : *run) results.push_back(process->wait());
  }
  const bool a_won = results[0].status == 0;
  const ProgramResult* lost = a_won ? &results[2] : &results[0];
  EXPECT_EQ(results[a_won ? 0 : 2].status, 0) << results[0].err << results[2].err;
  EXPECT_EQ(results[a_won ? 1 : 3].status, 0) << results[1].err << results[3].err;
  train_on(2, "alone", a_won ? more : other);
  expect_same_tensors(checkpoint("alone", 200), checkpoint(a_won ? "a" : "b", 200));
  EXPECT_EQ(lost[0].status, 1);
  EXPECT_NE(lost[0].err.find("error: port " + port +
                             " cannot be used to meet the other processes: "
                             "Address already in use"),
            std::string::npos)
      << lost[0].err;
  EXPECT_EQ(lost[1].status, 1);
  EXPECT_NE(lost[1].err.find("is another run (the run's folder is "), std::string::npos)
      << lost[1].err;
  EXPECT_FALSE(std::filesystem::exists(folder_ / (a_won ? "b" : "a")));
}

TEST_F(Distributed, ARankWithOtherSettingsIsNamedAndAllEnd) {
  const std::string port = std::to_string(free_port());
  Processes processes;
  for (int rank = 0; rank < 2; ++rank) {
    const std::string rate = rank == 0 ? "0.001" : "1e-05";
    processes.push_back(std::make_unique<Program>(folder_.path(),
                                                  command("run", {"--set", "optimizer.lr=" + rate}),
                                                  rank_environment(rank, 2, port)));
  }
  for (const auto& process : processes) {
    const ProgramResult result = process->wait();
    EXPECT_EQ(result.status, 2);
    EXPECT_NE(result.err.find("error: rank 1 was started with other settings than rank 0: "
                              "optimizer.lr is 0.001 on rank 0 and 1e-05 on rank 1"),
              std::string::npos)
        << result.err;
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
}

// What a machine decides may differ.
TEST_F(Distributed, WorkersAndThreadsMayDiffer) {
  const std::string port = std::to_string(free_port());
  Processes processes;
  for (int rank = 0; rank < 2; ++rank) {
    const std::string count = std::to_string(rank + 1);
    processes.push_back(std::make_unique<Program>(
        folder_.path(),
        command("run", {"--set", "data.workers=" + count, "--set", "run.threads=" + count}),
        rank_environment(rank, 2, port)));
  }
  for (const auto& process : processes) {
    const ProgramResult result = process->wait();
    EXPECT_EQ(result.status, 0) << result.err;
  }
}

TEST_F(Distributed, ARankWithOtherPicturesIsNamedAndAllEnd) {
  // The same relative path, another folder: as many pictures, of other pixels.
  for (int rank = 0; rank < 2; ++rank) {
    const std::filesystem::path machine = folder_ / ("machine-" + std::to_string(rank));
    std::filesystem::create_directories(machine);
    std::filesystem::copy_file(folder_ / "tiny.toml", machine / "tiny.toml");
    for (int i = 10; i < 30; ++i) {
      fixtures::write(machine / ("set/" + std::to_string(i) + ".pgm"),
                      fixtures::flat_pnm(8, 8, 1, 5 * (i - 10) + rank));
    }
  }
  const std::string port = std::to_string(free_port());
  Processes processes;
  for (int rank = 0; rank < 2; ++rank) {
    processes.push_back(std::make_unique<Program>(
        folder_ / ("machine-" + std::to_string(rank)),
        command("run", {"--set", "data.kind=folder", "--set", "data.path=set"}),
        rank_environment(rank, 2, port)));
  }
  const ProgramResult main = processes[0]->wait(), other = processes[1]->wait();
  EXPECT_EQ(main.status, 2);
  EXPECT_EQ(other.status, 2);
  EXPECT_NE(main.err.find("error: rank 0 stops: rank 1 has other data than rank 0"),
            std::string::npos)
      << main.err;
  EXPECT_NE(other.err.find("error: rank 1 has other data than rank 0: \""), std::string::npos)
      << other.err;
}

TEST_F(Distributed, ProcessesThatDrawMustHaveOneCommandLine) {
  train_alone("run");
  const std::string port = std::to_string(free_port());
  Processes processes;
  for (int rank = 0; rank < 2; ++rank) {
    processes.push_back(std::make_unique<Program>(
        folder_.path(),
        std::vector<std::string>{"sample", "--ckpt", "run", "--num", "4", "--steps", "4", "--out",
                                 "pictures", "--seed", std::to_string(rank)},
        rank_environment(rank, 2, port)));
  }
  for (const auto& process : processes) {
    const ProgramResult result = process->wait();
    EXPECT_EQ(result.status, 2);
    EXPECT_NE(result.err.find("seed is 0 on rank 0 and 1 on rank 1"), std::string::npos)
        << result.err;
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "pictures"));
}

TEST_F(Distributed, AHalfSetEnvironmentIsRefused) {
  Program program(folder_.path(), command("run", {}), {"RANK=0"});
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("RANK is set in the environment, but WORLD_SIZE is not"),
            std::string::npos)
      << result.err;
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
