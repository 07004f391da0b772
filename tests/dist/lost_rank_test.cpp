#include "ddpm/dist/gradient_reducer.h"
#include "ddpm/dist/world.h"
#include "tests/dist/start_world.h"

#include <chrono>
#include <cmath>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <signal.h>
#include <torch/utils.h>
#include <unistd.h>

namespace ddpm::dist {
namespace {

using namespace std::chrono_literals;

constexpr int kKilled = 7;  // the status of a rank that ends without a word

// Sums until a rank is lost. False if none was.
bool lose_a_rank(const World& world) {
  try {
    for (int i = 0; i < 1000; ++i) {
      const torch::Tensor x = torch::ones({1000});
      world.all_reduce_sum_({x});
    }
  } catch (const RankLost&) {
    return true;
  }
  return false;
}

// What `expected` says of ranks 0, 1, ... of a world in which each adds 10^(its first rank).
bool sums_to(const World& world, double expected) {
  const torch::Tensor x =
      torch::full({3}, std::pow(10.0, static_cast<double>(world.started_as())), torch::kDouble);
  world.all_reduce_sum_({x});
  return x.equal(torch::full({3}, expected, torch::kDouble));
}

TEST(LostRank, TheOthersAgreeAreNumberedAnewAndGoOn) {
  const auto children = start_world(4, 60s, OnLostRank::kShrink, [](World& world) {
    const int64_t first = world.rank();
    const auto begin = std::chrono::steady_clock::now();
    if (first == 2) std::_Exit(kKilled);
    if (!lose_a_rank(world)) return 1;
    // Rank 1 has completed one step more.
    const Regrouped now = world.regroup_(first == 1 ? 6 : 5);
    // Well before the timeout, also where a rank waits for another one that lives.
    if (std::chrono::steady_clock::now() - begin > 40s) return 10;
    if (world.size() != 3 || world.started_as() != first) return 2;
    if (world.rank() != (first == 3 ? 2 : first)) return 3;
    if (now.step != 6 || now.from != 1) return 4;
    if (now.lost.size() != 1 || !now.lost[0].starts_with("rank 2 (")) return 5;
    if (!sums_to(world, 1.0 + 10.0 + 1000.0)) return 6;
    if (world.from_main({first + 40})[0] != 40) return 7;
    // The same once more, with fewer.
    if (first == 1) std::_Exit(kKilled);
    if (!lose_a_rank(world)) return 8;
    world.regroup_(6);
    return world.size() == 2 && sums_to(world, 1.0 + 1000.0) ? 0 : 9;
  });
  EXPECT_EQ(wait_for(children[0]), 0);
  EXPECT_EQ(wait_for(children[1]), kKilled);
  EXPECT_EQ(wait_for(children[2]), kKilled);
  EXPECT_EQ(wait_for(children[3]), 0);
}

TEST(LostRank, OneMayBeLostWhileTheOthersAgree) {
  const auto children = start_world(4, 60s, OnLostRank::kShrink, [](World& world) {
    const int64_t first = world.rank();
    if (first == 1) std::_Exit(kKilled);
    if (!lose_a_rank(world)) return 1;
    if (first == 2) std::_Exit(kKilled);
    if (first == 3) {  // comes, but not until the end
      std::thread([] {
        std::this_thread::sleep_for(2s);
        std::_Exit(kKilled);
      }).detach();
    }
    const Regrouped now = world.regroup_(1);
    if (world.size() != 1 || now.lost.size() != 3) return 2;
    return sums_to(world, 1.0) ? 0 : 3;  // alone, sums are its own
  });
  EXPECT_EQ(wait_for(children[0]), 0);
  for (const int rank : {1, 2, 3}) EXPECT_EQ(wait_for(children[rank]), kKilled) << rank;
}

TEST(LostRank, GradientsAreSummedOverThoseLeft) {
  const auto children = start_world(3, 60s, OnLostRank::kShrink, [](World& world) {
    const int64_t first = world.rank();
    const std::vector<torch::Tensor> parameters{
        torch::zeros({3000}, torch::kDouble).requires_grad_(),
        torch::zeros({5}, torch::kDouble).requires_grad_()};
    GradientReducer reducer(world, parameters, /*bucket_bytes=*/1024);
    const auto pass = [&] {
      torch::Tensor sum = torch::zeros({}, torch::kDouble);
      for (const torch::Tensor& p : parameters) {
        p.mutable_grad() = torch::Tensor();
        sum = sum + p.sum() * static_cast<double>(first + 1);
      }
      sum.backward();
    };
    try {
      for (int step = 0; step < 1000; ++step) {
        if (first == 1 && step == 3) std::_Exit(kKilled);
        reducer.sum_during(pass);
        for (const torch::Tensor& p : parameters) {
          if (!p.grad().equal(torch::full_like(p, 6.0))) return 1;
        }
      }
      return 2;
    } catch (const RankLost&) {
    }
    world.regroup_(3);
    reducer.rebuild_();
    for (int step = 0; step < 3; ++step) {
      reducer.sum_during(pass);
      for (const torch::Tensor& p : parameters) {
        if (!p.grad().equal(torch::full_like(p, 4.0))) return 3;  // 1 + 3
      }
    }
    return 0;
  });
  EXPECT_EQ(wait_for(children[0]), 0);
  EXPECT_EQ(wait_for(children[1]), kKilled);
  EXPECT_EQ(wait_for(children[2]), 0);
}

// Rank 0 holds the store.
TEST(LostRank, WithoutRankZeroTheOthersKnowThatTheyAreAlone) {
  const auto children = start_world(3, 60s, OnLostRank::kShrink, [](World& world) {
    const int64_t first = world.rank();
    if (first == 0) std::_Exit(kKilled);
    if (!lose_a_rank(world)) return 1;
    try {
      world.regroup_(1);
    } catch (const NoAgreement&) {
      return world.size() == 1 && world.is_main() && world.started_as() == first ? 0 : 2;
    }
    return 3;
  });
  EXPECT_EQ(wait_for(children[0]), kKilled);
  EXPECT_EQ(wait_for(children[1]), 0);
  EXPECT_EQ(wait_for(children[2]), 0);
}

// It wakes up when the others have gone on.
TEST(LostRank, OneThatHangsIsLostAndEndsIfItWakesUp) {
  const auto children = start_world(3, 3s, OnLostRank::kShrink, [](World& world) {
    if (world.rank() == 1) {
      try {
        ::raise(SIGSTOP);
        if (!lose_a_rank(world)) return 1;
        world.regroup_(1);
      } catch (const RankLost&) {
        return 2;
      } catch (const Error& error) {
        return std::string(error.what()).find("go on without it") != std::string::npos ? 0 : 3;
      }
      return 4;
    }
    if (!lose_a_rank(world)) return 5;
    world.regroup_(1);
    if (world.size() != 2 || !sums_to(world, 1.0 + 100.0)) return 6;
    std::this_thread::sleep_for(world.is_main() ? 20s : 0s);  // holds the store
    return 0;
  });
  EXPECT_EQ(wait_for(children[2]), 0);
  ::kill(children[1], SIGCONT);
  EXPECT_EQ(wait_for(children[1]), 0);
  EXPECT_EQ(wait_for(children[0]), 0);
}

// Nothing of this is on without the wish.
TEST(LostRank, AWorldThatStopsThrowsAnErrorThatIsNoInvitationToGoOn) {
  const auto children = start_world(2, 20s, [](const World& world) {
    if (world.rank() == 1) std::_Exit(kKilled);
    try {
      world.barrier();
    } catch (const RankLost&) {
      return 1;
    } catch (const Error&) {
      return 0;
    }
    return 2;
  });
  EXPECT_EQ(wait_for(children[0]), 0);
  EXPECT_EQ(wait_for(children[1]), kKilled);
}

}  // namespace
}  // namespace ddpm::dist
