#include "ddpm/io/safetensors.h"
#include "ddpm/nn/ema.h"

#include <cmath>
#include <filesystem>

#include <gtest/gtest.h>
#include <torch/utils.h>

namespace ddpm::nn {
namespace {

// scripts/make_power_ema_golden.py
std::vector<double> golden(const std::string& name) {
  const auto file = io::SafetensorsFile::open(std::filesystem::path(DDPM_SOURCE_DIR) /
                                              "tests/golden/power_ema.safetensors");
  const torch::Tensor tensor = file.get(name).flatten();
  return {tensor.const_data_ptr<double>(), tensor.const_data_ptr<double>() + tensor.numel()};
}

// Snapshots of lengths 0.05 and 0.1, `count` times in a training of so many steps.
std::vector<PowerProfile> regular_snapshots(int64_t count, double steps) {
  std::vector<PowerProfile> profiles;
  for (const double length : {0.05, 0.1})
    for (int64_t i = 1; i <= count; ++i)
      profiles.push_back(
          {power_exponent(length), steps * static_cast<double>(i) / static_cast<double>(count)});
  return profiles;
}

TEST(PowerEma, TheExponentGivesAProfileOfTheLength) {
  const std::vector<double> lengths = golden("lengths"), exponents = golden("exponents");
  for (size_t i = 0; i < lengths.size(); ++i) {
    const double g = power_exponent(lengths[i]);
    EXPECT_NEAR(g, exponents[i], 1e-9 * g) << "numpy's root of " << lengths[i];
    // The variance of the beta distribution (g + 1, 1).
    EXPECT_NEAR(std::sqrt((g + 1) / ((g + 2) * (g + 2) * (g + 3))), lengths[i], 1e-12 * lengths[i]);
  }
}

// The parameters of update i are 1 in place i and 0 elsewhere: their average is its weights.
TEST(PowerEma, TheWeightOfAStepIsThePowerIntegratedOverIt) {
  constexpr int64_t kSteps = 400;
  for (const double length : {0.02, 0.05, 0.1, 0.28}) {
    const double g = power_exponent(length);
    torch::Tensor start = torch::full({kSteps}, 1e6, torch::kDouble);
    Ema ema({start}, [g](int64_t n) { return power_weight(g, n); });
    for (int64_t i = 1; i <= kSteps; ++i) {
      torch::Tensor parameters = torch::zeros({kSteps}, torch::kDouble);
      parameters[i - 1] = 1.0;
      ema.update_({parameters}, i);
    }
    const torch::Tensor& weights = ema.averages()[0];
    for (int64_t i = 1; i <= kSteps; ++i) {
      const double high = static_cast<double>(i) / kSteps;
      const double low = static_cast<double>(i - 1) / kSteps;
      const double exact = std::pow(high, g + 1) - std::pow(low, g + 1);
      EXPECT_NEAR(weights[i - 1].item<double>(), exact, 1e-13) << length << ", step " << i;
    }
    EXPECT_NEAR(weights.sum().item<double>(), 1.0, 1e-12) << "nothing is left of the beginning";
  }
}

TEST(PowerEma, InnerProductsAreIntegrals) {
  const PowerProfile a{power_exponent(0.05), 300.0}, b{power_exponent(0.15), 500.0};
  constexpr int64_t kCells = 100000;
  for (const auto& [x, y] : {std::pair(a, b), std::pair(b, a), std::pair(a, a)}) {
    double sum = 0.0;
    const double end = std::min(x.steps, y.steps);
    for (int64_t i = 0; i < kCells; ++i) {
      const double tau = end * (static_cast<double>(i) + 0.5) / kCells;
      const auto at = [&](const PowerProfile& p) {
        return (p.exponent + 1) / p.steps * std::pow(tau / p.steps, p.exponent);
      };
      sum += at(x) * at(y) * end / kCells;
    }
    EXPECT_NEAR(inner_product(x, y), sum, 1e-6 * sum);
  }
}

// numpy's cells make a relative error of 1e-6 in the profiles.
TEST(ProfileSpan, FitsAsNumpysLeastSquares) {
  const std::vector<double> targets = golden("targets");
  for (const int64_t count : {20, 40}) {
    const ProfileSpan span(regular_snapshots(count, 800'000));
    const auto errors = golden("errors." + std::to_string(count));
    const auto coefficients = golden("coefficients." + std::to_string(count));
    for (size_t t = 0; t < targets.size(); ++t) {
      const ProfileFit fit = span.fit({power_exponent(targets[t]), 800'000});
      EXPECT_NEAR(fit.error, errors[t], 1e-3 * errors[t]) << targets[t] << " of " << count;
      for (size_t i = 0; i < fit.coefficients.size(); ++i)
        EXPECT_NEAR(fit.coefficients[i], coefficients[t * 2 * count + i], 1e-3);
    }
  }
}

TEST(ProfileSpan, GivesAStoredProfileItself) {
  const std::vector<PowerProfile> profiles = regular_snapshots(20, 1000);
  const ProfileFit fit = ProfileSpan(profiles).fit({power_exponent(0.1), 1000});
  EXPECT_EQ(fit.error, 0.0);
  for (size_t i = 0; i < profiles.size(); ++i)
    EXPECT_EQ(fit.coefficients[i], i + 1 == profiles.size() ? 1.0 : 0.0);
  // An equal profile twice leaves a sum that is right, though not its parts.
  const ProfileSpan twice({profiles.back(), profiles.back(), profiles[30]});
  const ProfileFit other = twice.fit({power_exponent(0.1), 999.999});
  EXPECT_NEAR(other.coefficients[0] + other.coefficients[1], 1.0, 1e-3);
}

// The average of a random path, rebuilt and tracked. By the inequality of Cauchy and Schwarz they
// differ by at most |profiles' difference| |path|.
TEST(ProfileSpan, RebuildsTheAverageOfAnyPath) {
  constexpr int64_t kSteps = 2000, kCount = 20;
  const std::vector<double> stored{0.05, 0.1}, wanted{0.04, 0.07, 0.15};
  torch::manual_seed(3);
  const torch::Tensor path = torch::randn({kSteps, 50}, torch::kDouble).cumsum(0);
  const auto averages_of = [&](double length) {  // [kSteps,50]: after each update
    const double g = power_exponent(length);
    Ema ema({torch::zeros({50}, torch::kDouble)}, [g](int64_t n) { return power_weight(g, n); });
    std::vector<torch::Tensor> after;
    for (int64_t i = 1; i <= kSteps; ++i) {
      ema.update_({path[i - 1]}, i);
      after.push_back(ema.averages()[0].clone());
    }
    return torch::stack(after);
  };
  const std::vector<torch::Tensor> tracked{averages_of(0.05), averages_of(0.1)};
  const ProfileSpan span(regular_snapshots(kCount, kSteps));
  for (const double length : wanted) {
    const PowerProfile target{power_exponent(length), kSteps};
    const ProfileFit fit = span.fit(target);
    torch::Tensor rebuilt = torch::zeros({50}, torch::kDouble);
    for (int64_t k = 0; k < 2 * kCount; ++k)
      rebuilt += fit.coefficients[k] * tracked[k / kCount][(k % kCount + 1) * kSteps / kCount - 1];
    const torch::Tensor exact = averages_of(length)[kSteps - 1];
    const torch::Tensor bound =
        fit.error * std::sqrt(inner_product(target, target)) * path.square().sum(0).sqrt();
    const torch::Tensor difference = (rebuilt - exact).abs();
    EXPECT_TRUE((difference <= 1.001 * bound).all().item<bool>()) << length;
    // A path has a spread of sqrt(kSteps): the rebuilt average is near, the stored ones are not.
    const double spread = std::sqrt(static_cast<double>(kSteps));
    EXPECT_LT(difference.mean().item<double>(), 0.003 * spread) << length;
    for (const torch::Tensor& t : tracked)
      EXPECT_GT((t[kSteps - 1] - exact).abs().mean().item<double>(), 0.015 * spread) << length;
  }
}

TEST(ProfileSpan, SaysWhichLengthsItGives) {
  // By the golden errors, 0.04 has 0.7 %, 0.03 2.6 %, 0.15 0.6 % and 0.2 1.5 %.
  const ProfileSpan span(regular_snapshots(20, 1000));
  const std::vector<LengthRange> good = lengths_within(span, 1000, 0.01);
  ASSERT_EQ(good.size(), 1u);
  EXPECT_GT(good[0].low, 0.03);
  EXPECT_LT(good[0].low, 0.04);
  EXPECT_GT(good[0].high, 0.15);
  EXPECT_LT(good[0].high, 0.2);
  // With one snapshot of each, only the lengths nearby.
  const ProfileSpan last(regular_snapshots(1, 1000));
  const std::vector<LengthRange> two = lengths_within(last, 1000, 0.01);
  ASSERT_EQ(two.size(), 2u);
  EXPECT_NEAR(two[0].low, 0.05, 0.003);
  EXPECT_NEAR(two[1].high, 0.1, 0.005);
}

}  // namespace
}  // namespace ddpm::nn
