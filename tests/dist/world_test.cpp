#include "ddpm/dist/world.h"

#include "ddpm/base/error.h"
#include "ddpm/base/host.h"
#include "ddpm/dist/gradient_reducer.h"
#include "ddpm/io/file.h"
#include "tests/dist/start_world.h"
#include "tests/io/temporary_folder.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <thread>

#include <gtest/gtest.h>
#include <signal.h>
#include <torch/utils.h>
#include <unistd.h>

namespace ddpm::dist {
namespace {

using namespace std::chrono_literals;

class WorldOf : public testing::TestWithParam<int64_t> {};
INSTANTIATE_TEST_SUITE_P(Ranks, WorldOf, testing::Values(2, 4));

TEST_P(WorldOf, BroadcastGivesAllRanksTheTensorsOfRankZero) {
  expect_success(start_world(GetParam(), 20s, [](const World& world) {
    const auto filled = [&](double value, torch::Dtype type) {
      return torch::full({2, 3, 2, 2}, value, type).contiguous(torch::MemoryFormat::ChannelsLast);
    };
    const double mine = static_cast<double>(world.rank());
    std::vector<torch::Tensor> tensors{
        filled(10 + mine, torch::kFloat), torch::arange(5, torch::kDouble) * (mine + 1),
        torch::full({}, 3 + mine, torch::kFloat), filled(2 + mine, torch::kBFloat16)};
    world.broadcast_(tensors);
    const bool right = tensors[0].equal(filled(10, torch::kFloat)) &&
                       tensors[1].equal(torch::arange(5, torch::kDouble)) &&
                       tensors[2].equal(torch::full({}, 3.0, torch::kFloat)) &&
                       tensors[3].equal(filled(2, torch::kBFloat16)) &&
                       tensors[0].is_contiguous(torch::MemoryFormat::ChannelsLast);
    return right ? 0 : 1;
  }));
}

// The gradient of rank r's pass of sum((r + 1) * x_i * p_i), x = 1, 2, ...: (r + 1) * x.
void pass_of(const World& world, const std::vector<torch::Tensor>& parameters) {
  torch::Tensor sum = torch::zeros({}, torch::kDouble);
  for (const torch::Tensor& p : parameters) {
    const auto x = torch::arange(1, p.numel() + 1, torch::kDouble).view(p.sizes());
    sum = sum + (p * x * static_cast<double>(world.rank() + 1)).sum();
  }
  sum.backward();
}

TEST_P(WorldOf, GradientsAreSummedDuringTheBackwardPassWithThoseOfEarlierPasses) {
  expect_success(start_world(GetParam(), 20s, [](const World& world) {
    std::vector<torch::Tensor> parameters;
    for (const auto& shape : std::vector<std::vector<int64_t>>{{4, 3, 3, 3}, {5}, {}, {700}}) {
      parameters.push_back(torch::zeros(shape, torch::kDouble).requires_grad_());
    }
    GradientReducer reducer(world, parameters, /*bucket_bytes=*/1024);
    const double ranks = static_cast<double>(world.size());
    for (int step = 0; step < 3; ++step) {
      for (const torch::Tensor& p : parameters) p.mutable_grad() = torch::Tensor();
      pass_of(world, parameters);  // of this rank alone
      reducer.sum_during([&] { pass_of(world, parameters); });
      for (const torch::Tensor& p : parameters) {
        // Both passes of every rank: 2 (1 + ... + ranks) x. Small integers: exact.
        const auto x = torch::arange(1, p.numel() + 1, torch::kDouble).view(p.sizes());
        if (!p.grad().equal(x * (ranks * (ranks + 1)))) return 1;
      }
    }
    return 0;
  }));
}

TEST(GradientReducer, ARankThatIsGoneIsAnErrorOfTheWorldAndOneOfThePassStaysAsItIs) {
  const auto children = start_world(2, 20s, [](const World& world) {
    const std::vector<torch::Tensor> parameters{torch::zeros({3}, torch::kDouble).requires_grad_()};
    GradientReducer reducer(world, parameters);
    try {
      reducer.sum_during([] { throw UsageError("of the pass"); });
      return 1;
    } catch (const UsageError&) {
    }
    if (world.rank() == 1) std::_Exit(7);
    try {
      reducer.sum_during([&] { pass_of(world, parameters); });
    } catch (const Error& error) {
      return std::string(error.what()).find("to sum gradients") != std::string::npos ? 0 : 2;
    }
    return 3;
  });
  EXPECT_EQ(wait_for(children[0]), 0);
  EXPECT_EQ(wait_for(children[1]), 7);
}

TEST_P(WorldOf, SumsAreRightAndTheSameBitsOnEveryRank) {
  const TemporaryFolder folder;
  const int64_t size = GetParam();
  expect_success(start_world(size, 20s, [&](const World& world) {
    // 1/3 scaled by the rank: the order of additions shows in the last bits.
    std::vector<torch::Tensor> tensors;
    for (const auto type : {torch::kFloat, torch::kDouble, torch::kBFloat16}) {
      for (const int64_t count : {1, 7, 1000})
        tensors.push_back(
            torch::arange(1, count + 1, torch::kDouble).div(3.0 + world.rank()).to(type));
    }
    world.all_reduce_sum_(tensors, /*bucket_bytes=*/512);
    double scale = 0;
    for (int64_t r = 0; r < world.size(); ++r) scale += 1.0 / (3.0 + r);
    std::string bytes;
    for (const torch::Tensor& t : tensors) {
      const torch::Tensor expected = torch::arange(1, t.numel() + 1, torch::kDouble) * scale;
      // A few units in the last place of each type.
      const double tolerance = t.scalar_type() == torch::kDouble  ? 1e-15
                               : t.scalar_type() == torch::kFloat ? 1e-6
                                                                  : 3e-2;
      if (!torch::allclose(t.to(torch::kDouble), expected, tolerance, 0.0)) return 1;
      bytes.append(static_cast<const char*>(t.data_ptr()), t.nbytes());
    }
    io::write_file_synced(folder / std::to_string(world.rank()), bytes);
    return 0;
  }));
  const auto first = io::read_file(folder / "0");
  EXPECT_EQ(first.size(), size_t{1008} * (4 + 8 + 2));
  for (int64_t rank = 1; rank < size; ++rank)
    EXPECT_EQ(io::read_file(folder / std::to_string(rank)), first) << "rank " << rank;
}

TEST_P(WorldOf, ANumberThatIsNotFiniteOnOneRankIsNotFiniteOnAll) {
  expect_success(start_world(GetParam(), 20s, [](const World& world) {
    const torch::Tensor gradient = torch::ones({100});
    if (world.rank() == 1) gradient[50].fill_(NAN);
    world.all_reduce_sum_({gradient});
    const torch::Tensor finite = torch::isfinite(gradient);
    return !finite[50].item<bool>() && finite.sum().item<int64_t>() == 99 ? 0 : 1;
  }));
}

TEST_P(WorldOf, FlagsAndNumbersAreAgreedOn) {
  expect_success(start_world(GetParam(), 20s, [](const World& world) {
    const int64_t last = world.size() - 1;
    if (world.all_reduce_max({world.rank(), -world.rank()}) != std::vector<int64_t>{last, 0})
      return 1;
    if (!world.any(world.rank() == last) || world.any(false)) return 2;
    if (world.from_main({5 + world.rank(), 7}) != std::vector<int64_t>{5, 7}) return 3;
    world.barrier();
    return 0;
  }));
}

TEST_P(WorldOf, AFailureOfRankZeroIsKnownToAll) {
  expect_success(start_world(GetParam(), 20s, [](const World& world) {
    int calls = 0;
    world.on_main("count", [&] { ++calls; });
    if (calls != (world.is_main() ? 1 : 0)) return 1;
    try {
      world.on_main("open the disk", [] { throw IoError("disk", "is full"); });
      return 2;
    } catch (const Error& error) {
      const std::string text = error.what();
      return text.find(world.is_main() ? "is full" : "rank 0 failed to open the disk") !=
                     std::string::npos
                 ? 0
                 : 3;
    }
  }));
}

// Ranks other than the last wait for it in vain; it does `instead`. Returns the seconds until all
// of them had an Error that names what they waited for.
double seconds_until_error(int64_t size, std::chrono::milliseconds timeout,
                           const std::function<void()>& instead) {
  const auto begin = std::chrono::steady_clock::now();
  const auto children = start_world(size, timeout, [&](const World& world) {
    torch::Tensor gradient = torch::ones({1000});
    world.any(false);
    world.any(true);
    world.all_reduce_sum_({gradient});
    if (world.rank() == world.size() - 1) instead();
    try {
      world.all_reduce_sum_({gradient});
    } catch (const Error& error) {
      const std::string text = error.what();
      const auto has = [&](const char* part) { return text.find(part) != std::string::npos; };
      return has("for the other ranks, to sum tensors") &&
                     has("operation 4 of this rank, after: to compare flags, to compare flags, to "
                         "sum tensors)")
                 ? 0
                 : 2;
    }
    return 1;
  });
  for (size_t rank = 0; rank + 1 < children.size(); ++rank)
    EXPECT_EQ(wait_for(children[rank]), 0) << "rank " << rank;
  const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - begin;
  ::kill(children.back(), SIGKILL);
  wait_for(children.back());
  return waited.count();
}

TEST_P(WorldOf, AKilledPeerIsAnErrorAtOnce) {
  // Broken connections tell; the timeout of a minute is not waited for.
  EXPECT_LT(seconds_until_error(GetParam(), 60s, [] { ::raise(SIGKILL); }), 30.0);
}

TEST_P(WorldOf, APeerThatHangsIsAnErrorAfterTheTimeout) {
  const double seconds = seconds_until_error(GetParam(), 2s, [] { ::raise(SIGSTOP); });
  EXPECT_GE(seconds, 2.0);
  EXPECT_LT(seconds, 20.0);  // the start of the processes included
}

TEST(World, APeerThatNeverComesIsAnErrorAfterTheTimeout) {
  const int port = free_port();
  for (const int64_t rank : {0, 1}) {
    const auto begin = std::chrono::steady_clock::now();
    const int status = run_in_child([&] {
      try {
        const World world(launch_of(rank, 2, port), torch::kCPU, 2s);
      } catch (const Error& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return std::string(error.what()).find("to meet the others at 127.0.0.1:") !=
                       std::string::npos
                   ? 0
                   : 2;
      }
      return 1;
    });
    EXPECT_EQ(status, 0) << "rank " << rank;
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 20s);
  }
}

// What `world` throws in a child process: 0 if its message holds `part` in one line.
template <class Work>
int expect_error(const Work& work, const std::string& part) {
  try {
    work();
  } catch (const Error& error) {
    const std::string text = error.what();
    std::fprintf(stderr, "%s\n", text.c_str());
    return text.find(part) != std::string::npos && text.find('\n') == std::string::npos ? 0 : 2;
  }
  return 1;
}

TEST(World, APortThatIsTakenIsOneLine) {
  const int listening = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listening, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listening, 1), 0);
  ASSERT_EQ(::getsockname(listening, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const int port = ntohs(address.sin_port);
  // All on one machine, and a machine that others must reach.
  for (const std::string& name : std::vector<std::string>{"127.0.0.1", "localhost", host_name()}) {
    EXPECT_EQ(run_in_child([&] {
                Launch launch = launch_of(0, 2, port);
                launch.master_addr = name;
                return expect_error([&] { const World world(launch, torch::kCPU, 5s); },
                                    "port " + std::to_string(port) + " cannot be used");
              }),
              0)
        << name;
  }
  ::close(listening);
}

TEST(World, OneOfTwoProcessesWithOneRankIsRefused) {
  const int port = free_port();
  std::vector<pid_t> children;
  for (const int64_t rank : {0, 1, 1}) {
    children.push_back(start_child([=] {
      try {
        const World world(launch_of(rank, 2, port), torch::kCPU, 20s);
        world.barrier();
        return 0;
      } catch (const Error& error) {
        // The second may come when all others have ended.
        std::fprintf(stderr, "%s\n", error.what());
        return 7;
      }
    }));
  }
  EXPECT_EQ(wait_for(children[0]), 0);
  const int first = wait_for(children[1]), second = wait_for(children[2]);
  EXPECT_EQ(std::min(first, second), 0);
  EXPECT_EQ(std::max(first, second), 7);
}

TEST_P(WorldOf, WhatMustBeTheSameIsCompared) {
  expect_success(start_world(GetParam(), 20s, [](const World& world) {
    world.expect_same("data", "ten images");
    world.expect_own_gpus();  // all are on the CPU
    const int64_t last = world.size() - 1;
    const bool other = world.rank() == last;
    try {
      world.expect_same("data", other ? "nine images" : "ten images");
    } catch (const UsageError& error) {
      const std::string text = error.what(), rank = std::to_string(world.rank());
      const std::string expected =
          other
              ? "rank " + rank + " has other data than rank 0: \"nine images\" here, \"ten images\""
              : "rank " + rank + " stops: rank " + std::to_string(last) + " has other data";
      return text.find(expected) == 0 ? 0 : 2;
    }
    return 1;
  }));
}

TEST(World, ASingleProcessHasNoConnectionsAndChangesNothing) {
  EXPECT_EQ(run_in_child([] {
              Launch launch;
              launch.master_addr = "no-such-host.invalid";
              const World world(launch, torch::kCPU, 1s);
              const torch::Tensor t = torch::arange(3, torch::kDouble);
              world.all_reduce_sum_({t});
              world.broadcast_({t});
              world.barrier();
              const bool right = t.equal(torch::arange(3, torch::kDouble)) && world.is_main() &&
                                 world.size() == 1 && !world.any(false) && world.any(true) &&
                                 world.all_reduce_max({4})[0] == 4;
              return right ? 0 : 1;
            }),
            0);
}

}  // namespace
}  // namespace ddpm::dist
