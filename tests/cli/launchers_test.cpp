#include "tests/cli/fixture.h"
#include "tests/dist/free_port.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace ddpm {
namespace {

using Environment = std::vector<std::string>;

// The same processes, told who they are in each launcher's way, are the same run, bit for bit;
// distributed_test.cpp compares that run with a single process.
class Launchers : public CliTest {
 protected:
  static std::string name_value(const char* name, int value) {
    return std::string(name) + "=" + std::to_string(value);
  }

  // Trains into `out` with processes of these environments, and returns what rank 0 reported.
  std::string train_with(const std::string& out, int ranks,
                         const std::function<Environment(int rank)>& environment_of) {
    const std::string port = name_value("MASTER_PORT", free_port());
    std::vector<std::unique_ptr<Program>> processes;
    for (int rank = 0; rank < ranks; ++rank) {
      Environment environment = environment_of(rank);
      environment.push_back(port);
      processes.push_back(std::make_unique<Program>(
          folder_.path(), Environment{"train", "--config", "tiny.toml", "--out", out},
          environment));
    }
    std::string report;
    for (const auto& process : processes) {
      const ProgramResult result = process->wait();
      EXPECT_EQ(result.status, 0) << result.err;
      report += result.err;
    }
    return report;
  }

  void train_by_hand(const std::string& out, int ranks) {
    train_with(out, ranks, [&](int rank) {
      return Environment{name_value("RANK", rank), name_value("WORLD_SIZE", ranks),
                         name_value("LOCAL_RANK", rank), name_value("LOCAL_WORLD_SIZE", ranks),
                         "MASTER_ADDR=127.0.0.1"};
    });
  }

  void expect_found(const std::string& report, const std::string& launcher, int ranks) {
    const std::string n = std::to_string(ranks);
    const std::string line =
        n + " processes (" + launcher + "), " + n + " on this machine; rank 0 on cpu";
    EXPECT_NE(report.find(line), std::string::npos) << report;
  }
};

TEST_F(Launchers, SlurmsEnvironment) {
  train_by_hand("by-hand", 2);
  const std::string report = train_with("run", 2, [&](int rank) {
    return Environment{name_value("SLURM_PROCID", rank),
                       name_value("SLURM_LOCALID", rank),
                       "SLURM_NTASKS=2",
                       "SLURM_JOB_ID=1234567",
                       "SLURM_STEP_ID=0",
                       "SLURM_NODEID=0",
                       "SLURM_TASKS_PER_NODE=2",
                       "SLURM_JOB_NAME=ddpm-train",
                       "SLURM_NNODES=1",
                       "SLURM_STEP_NODELIST=localhost"};
  });
  expect_found(report, "SLURM", 2);
  expect_same_tensors(checkpoint("by-hand", 12), checkpoint("run", 12));
}

TEST_F(Launchers, OpenMpisEnvironment) {
  train_by_hand("by-hand", 2);
  const std::string report = train_with("run", 2, [&](int rank) {
    return Environment{name_value("OMPI_COMM_WORLD_RANK", rank), "OMPI_COMM_WORLD_SIZE=2",
                       name_value("OMPI_COMM_WORLD_LOCAL_RANK", rank),
                       "OMPI_COMM_WORLD_LOCAL_SIZE=2"};
  });
  expect_found(report, "Open MPI", 2);
  expect_same_tensors(checkpoint("by-hand", 12), checkpoint("run", 12));
}

TEST_F(Launchers, RealMpirun) {
  constexpr const char* kMpirun = "/usr/bin/mpirun";
  if (!std::filesystem::exists(kMpirun)) GTEST_SKIP() << "there is no " << kMpirun;
  for (const int ranks : {2, 4}) {
    const std::string n = std::to_string(ranks), out = "run-" + n;
    train_by_hand("by-hand-" + n, ranks);
    Program program(
        folder_.path(),
        {"--oversubscribe", "-n", n, DDPM_PROGRAM, "train", "--config", "tiny.toml", "--out", out},
        {"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
         name_value("MASTER_PORT", free_port())},
        kMpirun);
    const ProgramResult result = program.wait();
    ASSERT_EQ(result.status, 0) << result.err;
    expect_found(result.err, "Open MPI", ranks);
    expect_same_tensors(checkpoint("by-hand-" + n, 12), checkpoint(out, 12));
  }
}

}  // namespace
}  // namespace ddpm
