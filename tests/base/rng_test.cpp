#include "ddpm/base/rng.h"

#include "tests/base/test_purpose.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include <gtest/gtest.h>

namespace ddpm {
namespace {

constexpr RngKey kKey{{12, 34}};

uint64_t as_word(RngKey key) { return uint64_t{key.k[1]} << 32 | key.k[0]; }

// Computed with Python's integers from SplitMix64's definition. A seed reproduces a run only while
// these stay.
TEST(RngKey, IsTwoRoundsOfSplitMix64) {
  EXPECT_EQ(as_word(rng_key(0, Purpose::kTrainingNoise)), 0x3eb2ecbc903907fcu);
  EXPECT_EQ(as_word(rng_key(1234567890123, Purpose::kInitialNoise)), 0x66662632d1758642u);
  EXPECT_EQ(derived_seed(42, Purpose::kDropout, 3, 9), 0x91fbc77b0cfe266au);
}

TEST(RngKey, FlipsHalfItsBitsWithAnyBitOfTheSeed) {
  double flipped = 0;
  for (int bit = 0; bit < 64; ++bit) {
    flipped += std::popcount(as_word(rng_key(7, kTestPurpose)) ^
                             as_word(rng_key(7 ^ uint64_t{1} << bit, kTestPurpose)));
  }
  // 64 x 64 fair coins: 2048 +- 32.
  EXPECT_NEAR(flipped, 2048, 5 * 32);
}

TEST(RngKey, DiffersBetweenPurposesAndSeeds) {
  std::set<uint64_t> keys;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    for (uint32_t purpose = 0; purpose < 20; ++purpose)
      keys.insert(as_word(rng_key(seed, static_cast<Purpose>(purpose))));
  }
  EXPECT_EQ(keys.size(), 2000u);
}

TEST(DerivedSeed, DiffersBetweenArgumentsAndTheirOrder) {
  std::set<uint64_t> seeds;
  for (uint64_t a = 0; a < 50; ++a) {
    for (uint64_t b = 0; b < 50; ++b) seeds.insert(derived_seed(1, kTestPurpose, a, b));
  }
  EXPECT_EQ(seeds.size(), 2500u);
}

TEST(RandomPermutation, HoldsEveryNumberOnce) {
  for (const int64_t n : {0, 1, 2, 3, 1000}) {
    std::vector<int64_t> order = random_permutation(n, kKey, 5);
    std::sort(order.begin(), order.end());
    std::vector<int64_t> expected(n);
    std::iota(expected.begin(), expected.end(), int64_t{0});
    EXPECT_EQ(order, expected);
  }
}

TEST(RandomPermutation, IsAFunctionOfKeyAndId) {
  EXPECT_EQ(random_permutation(100, kKey, 5), random_permutation(100, kKey, 5));
  EXPECT_NE(random_permutation(100, kKey, 5), random_permutation(100, kKey, 6));
  EXPECT_NE(random_permutation(100, kKey, 5), random_permutation(100, RngKey{{12, 35}}, 5));
}

TEST(RandomPermutation, PutsEachNumberEverywhereEquallyOften) {
  constexpr int64_t kSize = 8, kRounds = 20000;
  std::vector<std::vector<double>> count(kSize, std::vector<double>(kSize));
  for (int64_t id = 0; id < kRounds; ++id) {
    const std::vector<int64_t> order = random_permutation(kSize, kKey, id);
    for (int64_t place = 0; place < kSize; ++place) ++count[place][order[place]];
  }
  const double expected = static_cast<double>(kRounds) / kSize;
  double chi_square = 0;
  for (const auto& row : count) {
    for (const double c : row) chi_square += (c - expected) * (c - expected) / expected;
  }
  // Rows and columns are fixed: 49 degrees of freedom, scaled by n / (n - 1) as permutations, not
  // draws with replacement, fill the table. Five standard deviations.
  const double scaled = chi_square * (kSize - 1) / kSize;
  EXPECT_NEAR(scaled, 49, 5 * std::sqrt(2 * 49.0));
}

TEST(RandomPermutation, MakesAllOrdersOfThreeEquallyLikely) {
  constexpr int kRounds = 60000;
  std::map<std::vector<int64_t>, double> count;
  for (int id = 0; id < kRounds; ++id) ++count[random_permutation(3, kKey, id)];
  ASSERT_EQ(count.size(), 6u);
  double chi_square = 0;
  for (const auto& [order, c] : count) chi_square += (c - 10000) * (c - 10000) / 10000;
  EXPECT_LT(chi_square, 25.7);  // 5 degrees of freedom, p = 1e-4
}

TEST(RngStream, ReadsPhiloxWordsInOrder) {
  RngStream stream(kKey, 3, 4);
  for (uint32_t block = 0; block < 3; ++block) {
    const Words words = philox(kKey, 3, 4, block);
    for (const uint32_t word : words.w) EXPECT_EQ(stream.word(), word);
  }
}

TEST(RngStream, UniformHasTheMomentsOfAUniform) {
  constexpr int kCount = 200000;
  RngStream stream(kKey, 1);
  double sum = 0, squares = 0, low = 1e9, high = -1e9;
  for (int i = 0; i < kCount; ++i) {
    const double u = stream.uniform(-1.0, 3.0);
    sum += u;
    squares += u * u;
    low = std::min(low, u);
    high = std::max(high, u);
  }
  EXPECT_GE(low, -1.0);
  EXPECT_LT(high, 3.0);
  const double mean = sum / kCount, variance = squares / kCount - mean * mean;
  // Variance 16/12; five standard errors, that of the variance being sqrt(0.8 / n) of it.
  EXPECT_NEAR(mean, 1.0, 5 * std::sqrt(16.0 / 12 / kCount));
  EXPECT_NEAR(variance, 16.0 / 12, 5 * 16.0 / 12 * std::sqrt(0.8 / kCount));
}

TEST(RngStream, NormalHasTheMomentsOfANormal) {
  constexpr int kCount = 200000;
  RngStream stream(kKey, 2);
  double moment[5] = {};
  for (int i = 0; i < kCount; ++i) {
    const double z = stream.normal();
    for (int k = 1; k <= 4; ++k) moment[k] += std::pow(z, k) / kCount;
  }
  // Moments 0, 1, 0, 3 with variances 1, 2, 15, 96 over n; five standard errors.
  EXPECT_NEAR(moment[1], 0, 5 * std::sqrt(1.0 / kCount));
  EXPECT_NEAR(moment[2], 1, 5 * std::sqrt(2.0 / kCount));
  EXPECT_NEAR(moment[3], 0, 5 * std::sqrt(15.0 / kCount));
  EXPECT_NEAR(moment[4], 3, 5 * std::sqrt(96.0 / kCount));
}

TEST(RngStream, BelowTakesEveryValueEquallyOften) {
  constexpr int kCount = 70000;
  RngStream stream(kKey, 3);
  std::vector<double> count(7);
  for (int i = 0; i < kCount; ++i) ++count.at(stream.below(7));
  double chi_square = 0;
  for (const double c : count) chi_square += (c - 10000) * (c - 10000) / 10000;
  EXPECT_LT(chi_square, 27.9);  // 6 degrees of freedom, p = 1e-4
}

}  // namespace
}  // namespace ddpm
