#include "src/train/running_loss.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace ddpm::train {
namespace {

TEST(RunningLoss, IsTheFirstLossAtTheStart) {
  RunningLoss loss;
  EXPECT_TRUE(std::isnan(loss.with(0.0, 0)));
  EXPECT_DOUBLE_EQ(loss.with(0.7, 1), 0.7);
  loss.add(0.7, 3);
  EXPECT_DOUBLE_EQ(loss.with(0.0, 0), 0.7);
}

// After n steps the step k steps ago counts 0.98^k.
TEST(RunningLoss, WeighsStepsByTheirAge) {
  RunningLoss loss;
  for (const double value : {1.0, 2.0, 3.0}) loss.add(value, 1);
  const double expected = (1.0 * 0.98 * 0.98 + 2.0 * 0.98 + 3.0) / (0.98 * 0.98 + 0.98 + 1.0);
  EXPECT_NEAR(loss.with(0.0, 0), expected, 1e-14);
}

TEST(RunningLoss, TakesManyStepsAsIfEachHadTheirMean) {
  RunningLoss at_once, one_by_one;
  at_once.add(1.0, 2);
  at_once.add(4.0, 5);
  for (int i = 0; i < 2; ++i) one_by_one.add(1.0, 1);
  for (int i = 0; i < 5; ++i) one_by_one.add(4.0, 1);
  EXPECT_NEAR(at_once.with(0.0, 0), one_by_one.with(0.0, 0), 1e-14);
  EXPECT_NEAR(at_once.with(2.0, 1), one_by_one.with(2.0, 1), 1e-14);
}

TEST(RunningLoss, LeavesOutWhatIsNotFinite) {
  RunningLoss loss;
  loss.add(2.0, 1);
  loss.add(std::numeric_limits<double>::quiet_NaN(), 4);
  loss.add(std::numeric_limits<double>::infinity(), 4);
  EXPECT_DOUBLE_EQ(loss.with(0.0, 0), 2.0);
}

}  // namespace
}  // namespace ddpm::train
