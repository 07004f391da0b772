#include "ddpm/eval/jackknife.h"

#include "ddpm/base/rng.h"
#include "ddpm/kernels/elementwise.h"
#include "tests/base/test_purpose.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <gtest/gtest.h>
#include <torch/utils.h>

namespace ddpm::eval {
namespace {

std::vector<int64_t> in_turn(int64_t samples, int64_t classes) {
  std::vector<int64_t> all;
  for (int64_t n = 0; n < samples; ++n) all.push_back(n % classes);
  return all;
}

TEST(SampleGroups, HaveEveryClassInTheSameShare) {
  for (const int64_t classes : {2, 3, 8, 10, 16, 50}) {
    const std::vector<int64_t> of = in_turn(1000, classes);
    const SampleGroups groups = make_groups(1000, of);
    EXPECT_TRUE(groups.by_class);
    EXPECT_EQ(groups.count, 16) << classes;
    const torch::Tensor ids = groups.ids();
    for (int64_t g = 0; g < groups.count; ++g) {
      std::map<int64_t, int64_t> seen;
      for (int64_t n = 0; n < 1000; ++n)
        if (ids[n].item<int64_t>() == g) ++seen[of[n]];
      ASSERT_EQ(std::ssize(seen), classes);
      for (const auto& [c, count] : seen) EXPECT_LE(std::abs(count - seen[0]), 1) << c;
    }
  }
}

TEST(SampleGroups, FollowLabelsInAnyOrder) {
  std::vector<int64_t> sorted;
  for (int64_t n = 0; n < 60; ++n) sorted.push_back(n / 20);
  const SampleGroups groups = make_groups(60, sorted);
  EXPECT_TRUE(groups.by_class);
  for (const auto& block : groups.blocks) {
    std::set<int64_t> classes;
    for (const int64_t n : block) classes.insert(sorted[n]);
    EXPECT_EQ(classes.size(), 3u);
  }
}

TEST(SampleGroups, AreRandomWithoutClassesAndIfTheirNumbersAreChance) {
  std::vector<int64_t> unequal = in_turn(1000, 4);
  for (int64_t n = 0; n < 40; ++n) unequal[n] = 0;
  for (const auto& classes : {std::vector<int64_t>{}, std::vector<int64_t>(1000, -1),
                              std::vector<int64_t>(1000, 7), unequal}) {
    const SampleGroups groups = make_groups(1000, classes);
    EXPECT_FALSE(groups.by_class);
    const std::vector<int64_t> sizes = group_sizes(groups.ids(), groups.count);
    EXPECT_EQ(sizes.size(), 16u);
    EXPECT_LE(*std::max_element(sizes.begin(), sizes.end()), 63);
    EXPECT_GE(*std::min_element(sizes.begin(), sizes.end()), 62);
    // Not dealt in turn: neighbours in the list fall into groups at random.
    const torch::Tensor ids = groups.ids();
    const torch::Tensor step = (ids.slice(0, 1) - ids.slice(0, 0, -1)).remainder(16);
    EXPECT_LT((step == 1).sum().item<int64_t>(), 120);
  }
}

TEST(SampleGroups, AreFewIfThereAreFewOfAClass) {
  EXPECT_EQ(make_groups(40, in_turn(40, 10)).count, 4);
  EXPECT_FALSE(make_groups(15, in_turn(15, 10)).by_class) << "some classes have one sample";
  EXPECT_EQ(make_groups(25, in_turn(25, 10)).count, 2) << "the last block is not whole";
  EXPECT_EQ(make_groups(3).count, 3);
}

TEST(SampleGroups, AnyStretchOfTheirOrderHasTheClassesEvenly) {
  const std::vector<int64_t> of = in_turn(1000, 8);
  const SampleGroups groups = make_groups(1000, of);
  for (const uint64_t pass : {0, 1, 2}) {
    std::vector<int64_t> order = groups.order(pass);
    for (int64_t first = 0; first + 100 <= 1000; first += 100) {
      std::map<int64_t, int64_t> seen;
      for (int64_t i = first; i < first + 100; ++i) ++seen[of[order[i]]];
      for (const auto& [c, count] : seen) EXPECT_NEAR(count, 12.5, 1.6) << c;
    }
    std::sort(order.begin(), order.end());
    EXPECT_EQ(order, in_turn(1000, 1000));
  }
}

// With groups of one, the standard error of a mean is s / sqrt(n).
TEST(Jackknife, OfAMeanIsItsStandardError) {
  torch::Tensor x = torch::empty({40}, torch::kDouble);
  kernels::fill_normal_(x.view({40, 1}), rng_key(1, kTestPurpose), torch::arange(40));
  const Measured m = grouped_mean(x, torch::arange(40), 40);
  EXPECT_NEAR(m.value, x.mean().item<double>(), 1e-14);
  EXPECT_NEAR(m.error, x.std().item<double>() / std::sqrt(40.0), 1e-14);
}

// Groups of 12 and 13: a value that changes by c / n alone has no spread.
TEST(Jackknife, ABiasOfOneOverNIsNoSpread) {
  std::vector<int64_t> sizes;
  for (int i = 0; i < 16; ++i) sizes.push_back(i % 3 == 0 ? 96 : 104);
  const int64_t n = 6 * 96 + 10 * 104;
  std::vector<double> without;
  for (const int64_t size : sizes) without.push_back(3.0 + 50.0 / static_cast<double>(n - size));
  EXPECT_NEAR(jackknife_error(3.0 + 50.0 / static_cast<double>(n), without, sizes), 0.0, 1e-10);
}

TEST(Jackknife, OfOneGroupIsUnknown) { EXPECT_TRUE(std::isnan(jackknife_error(1.0, {2.0}, {10}))); }

TEST(Representatives, AreOfAllClassesHoweverTheSetIsOrdered) {
  for (const int64_t classes : {2, 5, 10, 50}) {
    std::map<int64_t, int64_t> turn, sorted;
    const std::vector<int64_t> some = representative_indices(5000, 1000);
    ASSERT_EQ(some.size(), 1000u);
    EXPECT_TRUE(std::is_sorted(some.begin(), some.end()));
    EXPECT_EQ(std::set<int64_t>(some.begin(), some.end()).size(), 1000u);
    for (const int64_t i : some) {
      ++turn[i % classes];
      ++sorted[i * classes / 5000];
    }
    EXPECT_EQ(std::ssize(turn), classes) << "of classes in turn";
    for (const auto& [c, count] : sorted) EXPECT_NEAR(count, 1000.0 / classes, 2.0) << c;
  }
  EXPECT_EQ(representative_indices(3, 10), (std::vector<int64_t>{0, 1, 2}));
}

}  // namespace
}  // namespace ddpm::eval
