#include "ddpm/train/timestep_history.h"

#include <cmath>
#include <deque>
#include <vector>

#include <gtest/gtest.h>
#include <torch/utils.h>

namespace ddpm::train {
namespace {

constexpr int64_t kParts = TimestepHistory::kParts;

torch::Tensor doubles(const std::vector<double>& values) {
  return torch::tensor(values, torch::kDouble);
}

// Every t has the same loss ten times.
TimestepHistory history_of(const std::vector<double>& losses) {
  const auto T = static_cast<int64_t>(losses.size());
  TimestepHistory history(T, torch::kCPU);
  for (int64_t i = 0; i < TimestepHistory::kLosses; ++i)
    history.add_(torch::arange(1, T + 1), doubles(losses));
  return history;
}

// p_t from the weight 1 / (T p_t).
torch::Tensor density_of(const TimestepHistory& history, int64_t timesteps) {
  const torch::Tensor t = torch::arange(1, timesteps + 1);
  return 1.0 / (history.weight(t) * static_cast<double>(timesteps));
}

int64_t drawn(const TimestepHistory& history, int64_t part) {
  return history.draw(torch::tensor({part}), torch::tensor({int64_t{-1}})).item<int64_t>();
}

TEST(TimestepHistory, IsUniformUntilEveryTimestepHasTenLosses) {
  TimestepHistory history(3, torch::kCPU);
  const torch::Tensor t = torch::tensor({1, 2, 3}, torch::kLong);
  for (int64_t i = 0; i < 9; ++i) history.add_(t, doubles({1, 2, 5}));
  history.add_(t.narrow(0, 0, 2), doubles({1, 2}));  // the third has nine
  EXPECT_EQ(drawn(history, 1), -1);
  EXPECT_TRUE(torch::equal(history.weight(t), doubles({1, 1, 1})));
  history.add_(t.narrow(0, 2, 1), doubles({5}));
  EXPECT_EQ(drawn(history, 1), 1);
  EXPECT_EQ(drawn(history, kParts), 3);
  EXPECT_GT(history.weight(t)[0].item<double>(), 1.0);
}

// Nichol 2021, Eq. 18, with a thousandth of the uniform density.
TEST(TimestepHistory, TheDensityIsTheRootOfTheMeanSquaredLoss) {
  TimestepHistory history(2, torch::kCPU);
  for (int64_t i = 1; i <= 10; ++i) {
    history.add_(torch::tensor({2, 1}, torch::kLong), doubles({3.0, static_cast<double>(i)}));
  }
  const double a = std::sqrt(38.5), b = 3.0;  // (1 + 4 + ... + 100) / 10 = 38.5
  const torch::Tensor p = density_of(history, 2);
  // A multiple of 2^-31.
  EXPECT_NEAR(p[0].item<double>(), 0.999 * a / (a + b) + 0.0005, 1e-9);
  EXPECT_NEAR(p[1].item<double>(), 0.999 * b / (a + b) + 0.0005, 1e-9);
}

// Where each t begins and ends is what its weight says: sum over t of p_t * weight_t * L_t is the
// mean of L_t, whatever the history.
TEST(TimestepHistory, TheWeightedMeanIsThatOfUniformTimesteps) {
  const std::vector<double> losses{0.0, 4.0, 1e-3, 1.0, 0.3};
  const TimestepHistory history = history_of(losses);
  const torch::Tensor p = density_of(history, 5);
  EXPECT_NEAR(p.sum().item<double>(), 1.0, 1e-12);
  int64_t end = 0;
  double mean = 0.0;
  for (int64_t t = 1; t <= 5; ++t) {
    const double share = p[t - 1].item<double>() * static_cast<double>(kParts);
    const auto parts = static_cast<int64_t>(std::llround(share));
    EXPECT_NEAR(share, static_cast<double>(parts), 1e-3);
    EXPECT_EQ(drawn(history, end + 1), t);
    end += parts;
    EXPECT_EQ(drawn(history, end), t);
    const double weight = history.weight(torch::tensor({t})).item<double>();
    mean += static_cast<double>(parts) / static_cast<double>(kParts) * weight *
            losses[static_cast<size_t>(t - 1)];
  }
  EXPECT_EQ(end, kParts);
  EXPECT_NEAR(mean, (4.0 + 1e-3 + 1.0 + 0.3) / 5, 1e-12);
}

TEST(TimestepHistory, WithoutLossesIsUniform) {
  const torch::Tensor p = density_of(history_of({0, 0, 0, 0}), 4);
  EXPECT_TRUE(torch::allclose(p, torch::full({4}, 0.25, torch::kDouble), 0.0, 1e-9));
}

TEST(TimestepHistory, EveryTimestepOfALongChainIsDrawn) {
  constexpr int64_t T = 100'000;
  TimestepHistory history(T, torch::kCPU);
  const torch::Tensor t = torch::arange(1, T + 1);
  for (int64_t i = 0; i < 10; ++i)
    history.add_(t, (t == 17).to(torch::kDouble) * 1e6 + 1e-6);  // nearly all of p
  const torch::Tensor p = density_of(history, T);
  EXPECT_TRUE(torch::isfinite(p).all().item<bool>());
  EXPECT_NEAR(p.sum().item<double>(), 1.0, 1e-9);
  EXPECT_GT(p.min().item<double>(), 0.0);
}

// A list of the last ten per t, filled one loss after another.
TEST(TimestepHistory, AddsABatchAsItsLossesOneByOne) {
  constexpr int64_t T = 4;
  TimestepHistory together(T, torch::kCPU), one_by_one(T, torch::kCPU);
  std::vector<std::deque<double>> lists(T + 1);
  std::vector<int64_t> counts(T + 1, 0);
  torch::manual_seed(3);
  for (int64_t step = 0; step < 6; ++step) {
    // Up to all 64 of one t: more than the table holds.
    const torch::Tensor t = torch::randint(1, step % 2 == 0 ? T + 1 : 3, {64}, torch::kLong);
    const torch::Tensor loss = torch::rand({64}, torch::kDouble);
    together.add_(t, loss);
    for (int64_t i = 0; i < 64; ++i) {
      one_by_one.add_(t.narrow(0, i, 1), loss.narrow(0, i, 1));
      auto& list = lists[static_cast<size_t>(t[i].item<int64_t>())];
      list.push_back(loss[i].item<double>());
      if (list.size() > 10) list.pop_front();
      ++counts[static_cast<size_t>(t[i].item<int64_t>())];
    }
  }
  EXPECT_TRUE(torch::equal(together.state()[0], one_by_one.state()[0]));
  EXPECT_TRUE(torch::equal(together.state()[1], one_by_one.state()[1]));
  for (int64_t t = 1; t <= T; ++t) {
    const auto& list = lists[static_cast<size_t>(t)];
    const int64_t count = counts[static_cast<size_t>(t)];
    EXPECT_EQ(together.state()[1][t - 1].item<int64_t>(), count);
    for (int64_t i = 0; i < 10; ++i) {
      const int64_t column = (count - 10 + i) % 10;
      EXPECT_EQ(together.state()[0][t - 1][column].item<double>(), list[static_cast<size_t>(i)]);
    }
  }
}

TEST(TimestepHistory, LeavesOutLossesThatAreNotFinite) {
  TimestepHistory history(2, torch::kCPU);
  history.add_(torch::tensor({1, 2, 1, 1}, torch::kLong), doubles({NAN, 7, 5, INFINITY}));
  EXPECT_TRUE(torch::equal(history.state()[1], torch::tensor({1, 1}, torch::kLong)));
  EXPECT_EQ(history.state()[0][0][0].item<double>(), 5.0);
  EXPECT_EQ(history.state()[0].sum().item<double>(), 12.0);
}

TEST(TimestepHistory, ItsStateIsAllThereIs) {
  const TimestepHistory history = history_of({1, 2, 3});
  TimestepHistory again(3, torch::kCPU);
  for (size_t i = 0; i < 2; ++i) again.state()[i].copy_(history.state()[i]);
  again.refresh_();
  const torch::Tensor parts = torch::linspace(1, kParts, 1000, torch::kDouble).to(torch::kLong);
  EXPECT_TRUE(torch::equal(again.draw(parts, parts), history.draw(parts, parts)));
  const torch::Tensor t = torch::tensor({1, 2, 3}, torch::kLong);
  EXPECT_TRUE(torch::equal(again.weight(t), history.weight(t)));
}

}  // namespace
}  // namespace ddpm::train
