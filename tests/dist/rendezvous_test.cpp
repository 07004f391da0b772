#include "src/dist/rendezvous.h"

#include "ddpm/base/error.h"
#include "tests/dist/memory_board.h"

#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace ddpm::dist {
namespace {

using namespace std::chrono_literals;

Launch launch_as(int64_t rank, int64_t size, const std::string& job = "") {
  Launch launch;
  launch.rank = rank;
  launch.world_size = size;
  launch.master_addr = "n1";
  launch.master_port = 1234;
  launch.job = job;
  return launch;
}

const Identity kRun{{{"the run's folder", "runs/a"}},
                    {{"optimizer.lr", "0.001"}, {"data.path", "\"photos\""}}};

Identity with(Identity identity, const std::string& name, const std::string& value) {
  identity.settings[name] = value;
  return identity;
}

// What came of a rank's meeting: "met", or the kind of error and its message.
std::string outcome(Board& board, const Launch& launch, const Identity& identity,
                    std::chrono::milliseconds timeout = 20s) {
  try {
    meet(board, launch, identity, timeout);
    return "met";
  } catch (const UsageError& error) {
    return std::string("usage: ") + error.what();
  } catch (const Error& error) {
    return std::string("error: ") + error.what();
  }
}

std::vector<std::string> outcomes(const std::vector<Identity>& identities,
                                  std::chrono::milliseconds timeout = 20s) {
  MemoryBoard board;
  const auto size = std::ssize(identities);
  std::vector<std::string> found(identities.size());
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      found[rank] = outcome(board, launch_as(rank, size), identities[rank], timeout);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return found;
}

TEST(Rendezvous, RanksOfOneRunMeet) {
  EXPECT_EQ(outcomes({kRun, kRun, kRun, kRun}), std::vector<std::string>(4, "met"));
}

TEST(Rendezvous, ARankWithOtherSettingsEndsAllAndNamesThem) {
  const auto found = outcomes({kRun, with(kRun, "optimizer.lr", "1e-05"), kRun});
  const std::string why =
      "rank 1 was started with other settings than rank 0: optimizer.lr is 0.001 on rank 0 and "
      "1e-05 on rank 1; start all processes with the same command, data and program";
  EXPECT_EQ(found[0], "usage: " + why);
  EXPECT_EQ(found[1], "usage: " + why);
  EXPECT_EQ(found[2], "usage: rank 2 stops: " + why);
}

TEST(Rendezvous, AKeyThatOneDoesNotHaveDiffersAsWell) {
  const auto found = outcomes({kRun, with(kRun, "model.dropout", "0.1")});
  EXPECT_NE(found[0].find("model.dropout is not set on rank 0 and 0.1 on rank 1"),
            std::string::npos)
      << found[0];
}

// Its own rank 1 comes later: the run goes on without the stranger.
TEST(Rendezvous, AProcessOfAnotherRunIsRefusedAndTheRunWaitsForItsOwn) {
  Identity other = kRun;
  other.run["the run's folder"] = "runs/b";
  MemoryBoard board;
  std::string main;
  std::thread host([&] { main = outcome(board, launch_as(0, 2), kRun); });
  EXPECT_EQ(
      outcome(board, launch_as(1, 2), other),
      "error: rank 1 of 2: at n1:1234 is another run (the run's folder is runs/a there and "
      "runs/b here); set MASTER_PORT to another port, the same for all processes of this run");
  EXPECT_EQ(outcome(board, launch_as(1, 2), kRun), "met");
  host.join();
  EXPECT_EQ(main, "met");
}

TEST(Rendezvous, TheSameCommandStartedTwiceIsTwoRunsIfTheLauncherTellsThemApart) {
  MemoryBoard board;
  std::string main;
  std::thread host([&] { main = outcome(board, launch_as(0, 2, "Open MPI 1"), kRun); });
  EXPECT_NE(
      outcome(board, launch_as(1, 2, "Open MPI 2"), kRun)
          .find("is another run (the launcher's job is Open MPI 1 there and Open MPI 2 here)"),
      std::string::npos);
  EXPECT_EQ(outcome(board, launch_as(1, 2, "Open MPI 1"), kRun), "met");
  host.join();
  EXPECT_EQ(main, "met");
}

TEST(Rendezvous, WhoDoesNotComeIsNamed) {
  MemoryBoard board;
  std::vector<std::string> found(4);
  std::vector<std::thread> threads;
  for (const int64_t rank : {0, 2})
    threads.emplace_back([&, rank] {
      found[rank] = outcome(board, launch_as(rank, 4), kRun, rank == 0 ? 300ms : 20s);
    });
  for (std::thread& thread : threads) thread.join();
  const std::string why =
      "rank 0 of 4 waited up to 0.3 s to meet the others at n1:1234: rank 1, 3 did not come (were "
      "all started, and can they reach that machine?)";
  EXPECT_EQ(found[0], "error: " + why);
  EXPECT_EQ(found[2], "error: rank 2 stops: " + why);
}

TEST(Rendezvous, AnotherProgramAtThePortIsNotARun) {
  MemoryBoard board;
  EXPECT_EQ(outcome(board, launch_as(1, 2), kRun, 100ms),
            "error: rank 1 of 2: at n1:1234 another program answers, not rank 0 of this run; set "
            "MASTER_PORT to a free port, the same for all processes");
}

}  // namespace
}  // namespace ddpm::dist
