#include "ddpm/data/epoch_sampler.h"

#include <atomic>
#include <set>
#include <thread>

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

namespace ddpm::data {
namespace {

TEST(EpochSampler, EveryEpochVisitsEveryImageOnce) {
  const EpochSampler order(101, 5);
  for (int64_t epoch = 0; epoch < 4; ++epoch) {
    std::set<int64_t> seen;
    for (int64_t i = 0; i < 101; ++i) seen.insert(order.index_of(epoch * 101 + i));
    EXPECT_EQ(seen.size(), 101u);
    EXPECT_EQ(*seen.begin(), 0);
    EXPECT_EQ(*seen.rbegin(), 100);
  }
}

TEST(EpochSampler, OrderDiffersBetweenEpochsAndSeeds) {
  const EpochSampler order(1000, 5), other(1000, 6);
  int same_epoch = 0, same_seed = 0;
  for (int64_t i = 0; i < 1000; ++i) {
    same_epoch += order.index_of(i) == order.index_of(1000 + i);
    same_seed += order.index_of(i) == other.index_of(i);
  }
  // Two random permutations agree in Poisson(1) places; more than 9 has probability 1e-7.
  EXPECT_LT(same_epoch, 10);
  EXPECT_LT(same_seed, 10);
}

TEST(EpochSampler, IsAFunctionOfThePositionAlone) {
  const EpochSampler order(50, 5);
  std::vector<int64_t> forwards(50 * 20);
  for (int64_t p = 0; p < 50 * 20; ++p) forwards[p] = order.index_of(p);
  for (int64_t p = 50 * 20 - 1; p >= 0; p -= 7) EXPECT_EQ(order.index_of(p), forwards[p]);
  const EpochSampler fresh(50, 5);
  EXPECT_EQ(fresh.index_of(777), forwards[777]);
}

TEST(EpochSampler, ManyThreadsSeeOneOrder) {
  const EpochSampler order(64, 1), reference(64, 1);
  std::vector<int64_t> expected(64 * 30);
  for (size_t p = 0; p < expected.size(); ++p)
    expected[p] = reference.index_of(static_cast<int64_t>(p));
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int64_t i = 0; i < 64 * 30; ++i) {
        const int64_t p = (i + t * 500) % (64 * 30);
        wrong += order.index_of(p) != expected[p];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(EpochSampler, RefusesNothingToShuffleAndNegativePlaces) {
  EXPECT_THROW(EpochSampler(0, 1), c10::Error);
  EXPECT_THROW(EpochSampler(5, 1).index_of(-1), c10::Error);
}

}  // namespace
}  // namespace ddpm::data
