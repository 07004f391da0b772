// Processes that do not belong together find out before they train.

#include "tests/cli/distributed_fixture.h"
#include "tests/io/fixtures.h"

#include <string>

namespace ddpm {
namespace {

class DistributedIdentity : public Distributed {};

// Two that a launcher without a port of its own starts on one machine.
TEST_F(DistributedIdentity, TwoRunsAtOnePortNeverMix) {
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

TEST_F(DistributedIdentity, ARankWithOtherSettingsIsNamedAndAllEnd) {
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
TEST_F(DistributedIdentity, WorkersAndThreadsMayDiffer) {
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

TEST_F(DistributedIdentity, ARankWithOtherPicturesIsNamedAndAllEnd) {
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

TEST_F(DistributedIdentity, ProcessesThatDrawMustHaveOneCommandLine) {
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

TEST_F(DistributedIdentity, AHalfSetEnvironmentIsRefused) {
  Program program(folder_.path(), command("run", {}), {"RANK=0"});
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("RANK is set in the environment, but WORLD_SIZE is not"),
            std::string::npos)
      << result.err;
}

}  // namespace
}  // namespace ddpm
