#pragma once

#include "ddpm/dist/world.h"
#include "tests/checkpoint/child_process.h"
#include "tests/dist/free_port.h"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <functional>
#include <vector>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::dist {

inline Launch launch_of(int64_t rank, int64_t size, int port) {
  Launch launch;
  launch.rank = launch.local_rank = rank;
  launch.world_size = launch.local_world_size = size;
  launch.master_addr = "127.0.0.1";
  launch.master_port = port;
  launch.found = "torchrun";
  return launch;
}

/// Runs `work` in `size` processes that form a world. This process itself makes no tensor: the
/// children come from a fork, which threads do not survive.
inline std::vector<pid_t> start_world(int64_t size, std::chrono::milliseconds timeout,
                                      OnLostRank on_lost_rank,
                                      const std::function<int(World&)>& work) {
  const int port = free_port();
  std::vector<pid_t> children;
  for (int64_t rank = 0; rank < size; ++rank) {
    children.push_back(start_child([=] {
      ::signal(SIGPIPE, SIG_IGN);  // as the program does: a lost peer is an error of the socket
      try {
        World world(launch_of(rank, size, port), torch::kCPU, timeout, {}, on_lost_rank);
        return work(world);
      } catch (const std::exception& error) {
        std::fprintf(stderr, "rank %d: %s\n", static_cast<int>(rank), error.what());
        return 98;
      }
    }));
  }
  return children;
}

inline std::vector<pid_t> start_world(int64_t size, std::chrono::milliseconds timeout,
                                      const std::function<int(const World&)>& work) {
  return start_world(size, timeout, OnLostRank::kStop, work);
}

inline void expect_success(const std::vector<pid_t>& children) {
  for (size_t rank = 0; rank < children.size(); ++rank)
    EXPECT_EQ(wait_for(children[rank]), 0) << "rank " << rank;
}

}  // namespace ddpm::dist
