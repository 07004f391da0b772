#include "ddpm/dist/launch.h"

#include "ddpm/base/error.h"
#include "src/dist/slurm.h"

#include <map>

#include <gtest/gtest.h>

namespace ddpm::dist {
namespace {

using Variables = std::map<std::string, std::string>;

Launch detect(const Variables& variables, bool on_terminal = false) {
  const auto environment = [&](const std::string& name) -> std::optional<std::string> {
    const auto it = variables.find(name);
    return it != variables.end() && !it->second.empty() ? std::optional(it->second) : std::nullopt;
  };
  return detect_launch(environment, on_terminal);
}

Variables with(Variables variables, const Variables& more) {
  for (const auto& [name, value] : more) variables[name] = value;
  return variables;
}

void expect_refused(const Variables& variables, const std::string& part) {
  try {
    detect(variables);
    ADD_FAILURE() << "accepted; expected: " << part;
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

const Variables kTorchrun{{"RANK", "5"},         {"WORLD_SIZE", "8"},
                          {"LOCAL_RANK", "1"},   {"LOCAL_WORLD_SIZE", "4"},
                          {"MASTER_ADDR", "n1"}, {"MASTER_PORT", "1234"}};
const Variables kSrun{{"SLURM_JOB_ID", "1234567"},
                      {"SLURM_STEP_ID", "0"},
                      {"SLURM_JOB_NAME", "train"},
                      {"SLURM_PROCID", "3"},
                      {"SLURM_NTASKS", "5"},
                      {"SLURM_LOCALID", "1"},
                      {"SLURM_NODEID", "1"},
                      {"SLURM_TASKS_PER_NODE", "2(x2),1"},
                      {"SLURM_JOB_NODELIST", "node[07-08,11]"}};

TEST(DetectLaunch, NothingSetIsASingleProcess) {
  const Launch launch = detect({});
  EXPECT_EQ(launch.found, "single process");
  EXPECT_TRUE(launch.single());
  EXPECT_EQ(launch.rank, 0);
}

TEST(DetectLaunch, Torchrun) {
  const Launch launch = detect(with(
      kTorchrun, {{"TORCHELASTIC_RESTART_COUNT", "2"}, {"TORCHELASTIC_USE_AGENT_STORE", "True"}}));
  EXPECT_EQ(launch.found, "torchrun");
  EXPECT_EQ(launch.rank, 5);
  EXPECT_EQ(launch.world_size, 8);
  EXPECT_EQ(launch.local_rank, 1);
  EXPECT_EQ(launch.local_world_size, 4);
  EXPECT_EQ(launch.master_addr, "n1");
  EXPECT_EQ(launch.master_port, 1234);
  EXPECT_EQ(launch.restart_count, 2);
  EXPECT_TRUE(launch.agent_store);
  EXPECT_FALSE(detect(kTorchrun).agent_store);
}

TEST(DetectLaunch, Srun) {
  const Launch launch = detect(kSrun);
  EXPECT_EQ(launch.found, "SLURM");
  EXPECT_EQ(launch.rank, 3);
  EXPECT_EQ(launch.world_size, 5);
  EXPECT_EQ(launch.local_rank, 1);
  EXPECT_EQ(launch.local_world_size, 2);
  EXPECT_EQ(launch.master_addr, "node07");
  EXPECT_EQ(launch.master_port, 15000 + 4567);
}

TEST(DetectLaunch, MpirunOnOneMachineNeedsNoAddress) {
  const Launch launch = detect({{"OMPI_COMM_WORLD_RANK", "1"},
                                {"OMPI_COMM_WORLD_SIZE", "4"},
                                {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                                {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}});
  EXPECT_EQ(launch.found, "Open MPI");
  EXPECT_EQ(launch.world_size, 4);
  EXPECT_EQ(launch.master_addr, "127.0.0.1");
  EXPECT_EQ(launch.master_port, 29500);
}

TEST(DetectLaunch, PmiNeedsAnAddressWhereItDoesNotSayWhoIsHere) {
  const Variables pmi{{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}};
  expect_refused(pmi, "MASTER_ADDR is not set");
  EXPECT_EQ(detect(with(pmi, {{"MASTER_ADDR", "n1"}})).found, "PMI");
}

TEST(DetectLaunch, TheFirstThatIsThereDecides) {
  const Variables mpi{{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "2"}};
  EXPECT_EQ(detect(with(with(mpi, kSrun), kTorchrun)).found, "torchrun");
  // mpirun's daemons are tasks of srun: what they start is not.
  EXPECT_EQ(detect(with(mpi, kSrun)).found, "Open MPI");
  EXPECT_EQ(detect(with(mpi, with(kSrun, {{"SLURM_STEP_ID", ""}}))).found, "Open MPI");
  EXPECT_EQ(detect(with({{"PMI_RANK", "0"}, {"PMI_SIZE", "2"}}, kSrun)).found, "SLURM");
}

TEST(DetectLaunch, HalfSetIsRefusedNamingWhatIsMissing) {
  expect_refused({{"RANK", "0"}}, "RANK is set in the environment, but WORLD_SIZE is not");
  expect_refused({{"WORLD_SIZE", "2"}}, "WORLD_SIZE is set in the environment, but RANK is not");
  expect_refused(with(kTorchrun, {{"MASTER_ADDR", ""}}), "MASTER_ADDR is not set");
  expect_refused(with(kTorchrun, {{"MASTER_PORT", ""}}), "MASTER_PORT is not set");
  expect_refused({{"OMPI_COMM_WORLD_RANK", "0"}}, "OMPI_COMM_WORLD_SIZE is not");
  expect_refused(with(kSrun, {{"SLURM_PROCID", ""}}), "SLURM_PROCID is not");
}

TEST(DetectLaunch, NumbersThatCannotBeAreRefused) {
  expect_refused(with(kTorchrun, {{"RANK", "8"}}), "RANK=8 does not fit WORLD_SIZE=8");
  expect_refused(with(kTorchrun, {{"RANK", "one"}}), "RANK is \"one\"");
  expect_refused(with(kTorchrun, {{"RANK", "-1"}}), "RANK is \"-1\"");
  expect_refused(with(kTorchrun, {{"LOCAL_RANK", "4"}}), "LOCAL_RANK is 4");
  expect_refused(with(kTorchrun, {{"MASTER_PORT", "65536"}}), "MASTER_PORT is 65536");
}

TEST(DetectLaunch, ASlurmJobOfSeveralTasksNeedsSrun) {
  expect_refused(with(kSrun, {{"SLURM_STEP_ID", ""}}), "start it with srun");
  expect_refused(with(kSrun, {{"SLURM_STEP_ID", "4294967291"}}), "start it with srun");
  // One task, or an interactive shell: a single process.
  EXPECT_TRUE(detect(with(kSrun, {{"SLURM_STEP_ID", ""}, {"SLURM_NTASKS", "1"}})).single());
  for (const char* name : {"bash", "interactive"})
    EXPECT_TRUE(detect(with(kSrun, {{"SLURM_JOB_NAME", name}, {"SLURM_STEP_ID", ""}})).single());
}

// Within salloc the job is called "interactive" (or "bash"), and so is it in the steps of srun
// there.
TEST(DetectLaunch, AStepOfSrunCountsWhateverTheJobIsCalled) {
  for (const char* name : {"bash", "interactive", "train"}) {
    const Launch launch = detect(with(kSrun, {{"SLURM_JOB_NAME", name}}));
    EXPECT_EQ(launch.world_size, 5) << name;
    EXPECT_EQ(launch.rank, 3) << name;
  }
  // The step's tasks, not the job's.
  const Launch two = detect(with(kSrun, {{"SLURM_STEP_NUM_TASKS", "2"},
                                         {"SLURM_PROCID", "1"},
                                         {"SLURM_STEP_TASKS_PER_NODE", "2"},
                                         {"SLURM_NODEID", "0"}}));
  EXPECT_EQ(two.world_size, 2);
  EXPECT_EQ(two.local_world_size, 2);
}

TEST(DetectLaunch, AShellOfSallocOrOfSrunPtyIsASingleProcess) {
  const Variables salloc = with(kSrun, {{"SLURM_JOB_NAME", "interactive"}, {"SLURM_PROCID", "0"}});
  // salloc may itself run its shell in a step.
  for (const char* step : {"interactive", "4294967290"})
    EXPECT_TRUE(
        detect(with(salloc, {{"SLURM_STEP_ID", step}, {"SLURM_JOB_NAME", "mine"}})).single());
  // A shell that `srun --pty` started, at its terminal; and a step of srun within it.
  const Variables pty = with(kSrun, {{"SLURM_PTY_PORT", "40000"}});
  EXPECT_TRUE(detect(pty, /*on_terminal=*/true).single());
  EXPECT_EQ(detect(pty, /*on_terminal=*/false).world_size, 5);
}

TEST(DetectLaunch, TheLaunchersNameForTheJobIsKnownAndGivesEachItsPort) {
  EXPECT_EQ(detect(kSrun).job, "SLURM 1234567.0");
  EXPECT_EQ(detect(with(kTorchrun, {{"TORCHELASTIC_RUN_ID", "a1"}})).job, "torchrun a1");
  EXPECT_EQ(detect(kTorchrun).job, "");
  const Variables mpi{{"OMPI_COMM_WORLD_RANK", "1"},
                      {"OMPI_COMM_WORLD_SIZE", "2"},
                      {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                      {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}};
  const Launch first = detect(with(mpi, {{"PMIX_NAMESPACE", "3921870849"}}));
  const Launch second = detect(with(mpi, {{"PMIX_NAMESPACE", "3921936385"}}));
  EXPECT_EQ(first.job, "Open MPI 3921870849");
  EXPECT_NE(first.master_port, second.master_port);
  for (const int port : {first.master_port, second.master_port}) {
    EXPECT_GE(port, 15000);
    EXPECT_LT(port, 25000);
  }
  // Two steps of one job.
  EXPECT_EQ(detect(with(kSrun, {{"SLURM_STEP_ID", "1"}})).master_port, 15000 + 4568);
}

TEST(DetectLaunch, ATorchrunWithinASlurmShellKeepsItsOwnAddress) {
  EXPECT_EQ(detect(with(kSrun, kTorchrun)).master_addr, "n1");
  EXPECT_EQ(detect(with(kSrun, kTorchrun)).master_port, 1234);
}

TEST(Slurm, NodelistsAreExpanded) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(expand_nodelist("node[01-03,07],gpu5"),
            (Names{"node01", "node02", "node03", "node07", "gpu5"}));
  EXPECT_EQ(expand_nodelist("a"), Names{"a"});
  EXPECT_EQ(expand_nodelist("n[9-11]"), (Names{"n9", "n10", "n11"}));
  EXPECT_EQ(expand_nodelist("r[1-2]n[3,5]x"), (Names{"r1n3x", "r1n5x", "r2n3x", "r2n5x"}));
  EXPECT_EQ(expand_nodelist("gpu-a-1,gpu-b-2"), (Names{"gpu-a-1", "gpu-b-2"}));
  for (const char* broken : {"n[1-", "n1]", "n[2-1]", "n[a-b]", "n[]"})
    EXPECT_THROW(expand_nodelist(broken), UsageError) << broken;
}

TEST(Slurm, TasksPerNodeAreExpanded) {
  EXPECT_EQ(expand_tasks_per_node("4(x2),1"), (std::vector<int64_t>{4, 4, 1}));
  EXPECT_EQ(expand_tasks_per_node("8"), (std::vector<int64_t>{8}));
  for (const char* broken : {"", "x", "2(x", "2(x3"})
    EXPECT_THROW(expand_tasks_per_node(broken), UsageError) << broken;
}

TEST(Describe, SaysWhoMeetsWhere) {
  EXPECT_EQ(describe(detect(kTorchrun), torch::Device(torch::kCUDA, 1)),
            "8 processes (torchrun), 4 on this machine; rank 5 on cuda:1; meeting at n1:1234");
  EXPECT_EQ(describe({}, torch::kCPU), "a single process on cpu");
}

}  // namespace
}  // namespace ddpm::dist
