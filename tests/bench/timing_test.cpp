#include "ddpm/bench/timing.h"

#include <gtest/gtest.h>

namespace ddpm::bench {
namespace {

TEST(Times, QuantilesLieBetweenTheNearestTwo) {
  const Times times{{4.0, 1.0, 2.0, 3.0}};
  EXPECT_DOUBLE_EQ(times.median(), 2.5);
  EXPECT_DOUBLE_EQ(times.quantile(0.0), 1.0);
  EXPECT_DOUBLE_EQ(times.quantile(1.0), 4.0);
  EXPECT_DOUBLE_EQ(times.spread(), (3.25 - 1.75) / 2 / 2.5);
  EXPECT_DOUBLE_EQ(Times{{7.0}}.median(), 7.0);
  EXPECT_THROW(Times{}.median(), c10::Error);
}

TEST(MeasureInTurn, WarmsEachUpThenRunsThemInTurn) {
  std::string order;
  const auto times = measure_in_turn({{"a", [&] { order += 'a'; }}, {"b", [&] { order += 'b'; }}},
                                     torch::kCPU, 2, 3);
  EXPECT_EQ(order, "aabbababab");
  ASSERT_EQ(times.size(), 2u);
  EXPECT_EQ(times[0].seconds.size(), 3u);
}

}  // namespace
}  // namespace ddpm::bench
