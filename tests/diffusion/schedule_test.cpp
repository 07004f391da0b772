#include "ddpm/diffusion/schedule.h"

#include "ddpm/io/safetensors.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::diffusion {
namespace {

ScheduleConfig config_of(ScheduleKind kind, int64_t timesteps, double low = 1e-4,
                         double high = 0.02) {
  return {.kind = kind, .timesteps = timesteps, .beta_start = low, .beta_end = high};
}

/// numpy's tables in extended precision, by scripts/make_diffusion_golden.py.
void expect_golden(const std::string& name, const ScheduleConfig& config) {
  const auto golden = io::SafetensorsFile::open(std::string(DDPM_SOURCE_DIR) +
                                                "/tests/golden/diffusion_schedules.safetensors");
  const Schedule schedule(config);
  const std::vector<std::pair<std::string, Table>> tables{
      {"beta", Table::kBeta},
      {"alpha_bar", Table::kAlphaBar},
      {"posterior_variance", Table::kPosteriorVariance},
      {"posterior_mean_x0", Table::kPosteriorMeanX0},
      {"posterior_mean_xt", Table::kPosteriorMeanXt},
      {"snr", Table::kSnr}};
  for (const auto& [key, table] : tables) {
    const torch::Tensor expected = golden.get(name + "." + key);
    ASSERT_EQ(expected.size(0), config.timesteps);
    for (int64_t t = 1; t <= config.timesteps; ++t) {
      const double want = expected[t - 1].item<double>();
      // 1e-11: the cosine's beta_1 = 1 - f(1)/f(0) is 6e-4 as a difference of ones, which loses 4
      // of float64's 16 digits.
      EXPECT_NEAR(schedule.at(table, t), want, 1e-11 * std::abs(want))
          << name << "." << key << " at t = " << t;
    }
  }
}

TEST(Schedule, MatchesNumpyForEachKind) {
  expect_golden("linear_1000", config_of(ScheduleKind::kLinear, 1000));
  expect_golden("linear_250_weak", config_of(ScheduleKind::kLinear, 250, 1e-4, 0.01));
  expect_golden("cosine_100", config_of(ScheduleKind::kCosine, 100));
  expect_golden("quadratic_100", config_of(ScheduleKind::kQuadratic, 100));
  expect_golden("sigmoid_100", config_of(ScheduleKind::kSigmoid, 100));
  expect_golden("constant_100", config_of(ScheduleKind::kConstant, 100));
}

TEST(Schedule, MatchesNumpyForOneAndTwoSteps) {
  expect_golden("linear_1", config_of(ScheduleKind::kLinear, 1));
  expect_golden("linear_2", config_of(ScheduleKind::kLinear, 2));
  expect_golden("cosine_1", config_of(ScheduleKind::kCosine, 1));
}

TEST(Schedule, MatchesNumpyWithZeroTerminalSnr) {
  const auto zero = [](ScheduleConfig config) {
    config.zero_terminal_snr = true;
    return config;
  };
  expect_golden("zero_linear_1000", zero(config_of(ScheduleKind::kLinear, 1000)));
  expect_golden("zero_cosine_100", zero(config_of(ScheduleKind::kCosine, 100)));
  expect_golden("zero_linear_2", zero(config_of(ScheduleKind::kLinear, 2)));
}

// Lin 2024, Sec. 3.1: nothing of the image is left at T, and t = 1 is as it was.
TEST(Schedule, ZeroTerminalSnrKeepsTheFirstStepAndLosesTheLastSignal) {
  for (int kind = 0; kind < 5; ++kind) {
    ScheduleConfig config = config_of(static_cast<ScheduleKind>(kind), 500);
    const Schedule plain(config);
    config.zero_terminal_snr = true;
    const Schedule schedule(config);
    EXPECT_EQ(schedule.alpha_bar(500), 0.0);
    EXPECT_NEAR(schedule.one_minus_alpha_bar(500), 1.0, 1e-14);
    EXPECT_EQ(schedule.snr(500), 0.0);
    EXPECT_EQ(schedule.beta(1), plain.beta(1));
    EXPECT_LT(schedule.alpha_bar(400), plain.alpha_bar(400));
  }
  EXPECT_THROW(Schedule({.timesteps = 1, .zero_terminal_snr = true}), c10::Error);
  // A table that ends without signal already.
  ScheduleConfig table{.kind = ScheduleKind::kTable, .timesteps = 3, .betas = {0.1, 0.5, 1.0}};
  table.zero_terminal_snr = true;
  for (int64_t t = 1; t <= 3; ++t)
    EXPECT_NEAR(Schedule(table).beta(t), table.betas[static_cast<size_t>(t - 1)], 1e-15);
}

TEST(Schedule, HosLinearScheduleForgetsTheImageToTheBitsThatHoStates) {
  // Ho 2020, Sec. 4: L_T = D_KL(q(x_T|x_0) || N(0,I)) is about 1e-5 bits per dimension. Here for
  // pixels uniform in [-1,1], whose mean square is 1/3.
  const double alpha_bar = Schedule({}).alpha_bar(1000);
  const double nats = 0.5 * (alpha_bar / 3 - alpha_bar - std::log1p(-alpha_bar));
  EXPECT_NEAR(nats / std::log(2.0), 1.0e-5, 0.05e-5);
}

double level(const Schedule& schedule, int64_t t) {
  return std::sqrt(schedule.one_minus_alpha_bar(t) / schedule.alpha_bar(t));
}

TEST(Schedule, FlowIsTheStraightPathScaledToVariancePreserving) {
  for (const int64_t T : {2, 3, 50, 1000}) {
    const Schedule schedule(config_of(ScheduleKind::kFlow, T));
    for (int64_t t = 1; t < T; ++t) {
      const double tau = static_cast<double>(t) / static_cast<double>(T);
      const double square = (1 - tau) * (1 - tau) + tau * tau;
      EXPECT_NEAR(schedule.alpha_bar(t) * square / ((1 - tau) * (1 - tau)), 1, 1e-11) << t;
      EXPECT_NEAR(schedule.one_minus_alpha_bar(t) * square / (tau * tau), 1, 1e-11) << t;
    }
    EXPECT_EQ(schedule.alpha_bar(T), 0.0);
    EXPECT_NEAR(schedule.one_minus_alpha_bar(T), 1.0, 1e-15);
    EXPECT_EQ(schedule.beta(T), 1.0);
  }
}

// Karras 2022, Eq. 5, from its last step to its first.
TEST(Schedule, EdmHasTheNoiseLevelsOfKarras) {
  ScheduleConfig config = config_of(ScheduleKind::kEdm, 18);
  for (const auto& [low, high] : {std::pair(0.002, 80.0), {0.01, 10.0}}) {
    config.sigma_min = low, config.sigma_max = high;
    const Schedule schedule(config);
    EXPECT_NEAR(level(schedule, 1), low, 1e-12 * low);
    EXPECT_NEAR(level(schedule, 18), high, 1e-12 * high);
    for (int64_t i = 0; i < 18; ++i) {
      const double a = std::pow(high, 1.0 / 7), b = std::pow(low, 1.0 / 7);
      const double want = std::pow(a + static_cast<double>(i) / 17 * (b - a), 7);
      EXPECT_NEAR(level(schedule, 18 - i), want, 1e-11 * want) << i;
    }
  }
}

TEST(Schedule, AlphaBarDecreasesFromOne) {
  for (int kind = 0; kind < 5; ++kind) {
    const Schedule schedule(config_of(static_cast<ScheduleKind>(kind), 500));
    EXPECT_EQ(schedule.alpha_bar(0), 1.0);
    EXPECT_EQ(schedule.one_minus_alpha_bar(0), 0.0);
    for (int64_t t = 1; t <= 500; ++t) {
      EXPECT_LT(schedule.alpha_bar(t), schedule.alpha_bar(t - 1));
      EXPECT_GT(schedule.alpha_bar(t), 0.0);
    }
  }
}

TEST(Schedule, PosteriorAtTheFirstStepIsTheImageItself) {
  const Schedule schedule({});
  EXPECT_EQ(schedule.posterior_variance(1), 0.0);
  EXPECT_EQ(schedule.at(Table::kPosteriorMeanX0, 1), 1.0);
  EXPECT_EQ(schedule.at(Table::kPosteriorMeanXt, 1), 0.0);
}

TEST(Schedule, KeepsTheNoiseOfTinyBetas) {
  // 1 - (1 - b)^t = t b (1 - O(t b)); the plain difference from 1 would keep 4 digits.
  const Schedule schedule(config_of(ScheduleKind::kConstant, 10, 1e-12, 1e-12));
  EXPECT_NEAR(schedule.one_minus_alpha_bar(10), 1e-11, 1e-21);
  EXPECT_NEAR(schedule.jump_beta(7, 3), 4e-12, 1e-22);
}

TEST(Schedule, JumpsCompose) {
  const Schedule schedule({});
  EXPECT_EQ(schedule.jump_beta(500, 499), schedule.beta(500));
  EXPECT_NEAR(schedule.jump_beta(500, 0), 1 - schedule.alpha_bar(500), 1e-15);
  const double composed = (1 - schedule.jump_beta(900, 400)) * (1 - schedule.jump_beta(400, 20));
  EXPECT_NEAR(1 - schedule.jump_beta(900, 20), composed, 1e-15);
}

// alpha_bar of 5000 linear steps ends at 2e-22, where 1 - alpha_bar has no digits left of it.
TEST(Schedule, JumpsKeepTheirDigitsWhereAlphaBarIsTiny) {
  const Schedule schedule({.timesteps = 5000});
  for (const int64_t length : {2, 20, 100, 250}) {
    for (int64_t s = 0; s + length <= 5000; s += length) {
      long double ratio = 1;  // 64 bits of mantissa: 11 more than double
      for (int64_t i = s + 1; i <= s + length; ++i) ratio *= 1 - (long double)schedule.beta(i);
      const auto beta = static_cast<double>(1 - ratio);
      // A product and a sum of up to 250 rounded numbers; 1 - ratio itself is good to 1e-15.
      ASSERT_NEAR(schedule.jump_beta(s + length, s), beta, 1e-12 * beta) << s << " + " << length;
    }
  }
}

TEST(Schedule, GathersInTheDtypeAndRankOfTheImages) {
  const Schedule schedule({});
  const torch::Tensor t = torch::tensor({1, 1000, 17}, torch::kInt64);
  for (const auto dtype : {torch::kFloat64, torch::kFloat32, torch::kBFloat16}) {
    const torch::Tensor like = torch::zeros({3, 2, 5, 7}, dtype);
    const torch::Tensor got = schedule.gather(Table::kBeta, t, like);
    EXPECT_EQ(got.scalar_type(), dtype);
    EXPECT_EQ(got.sizes(), (std::vector<int64_t>{3, 1, 1, 1}));
    const torch::Tensor want =
        torch::tensor({schedule.beta(1), schedule.beta(1000), schedule.beta(17)}, torch::kFloat64);
    EXPECT_TRUE(torch::equal(got.flatten(), want.to(dtype)));
  }
  EXPECT_EQ(schedule.gather(Table::kBeta, t, torch::zeros({3})).sizes(), std::vector<int64_t>{3});
}

TEST(Schedule, RefusesTimestepsOutsideItsRange) {
  const Schedule schedule(config_of(ScheduleKind::kLinear, 10));
  EXPECT_THROW(schedule.beta(0), c10::Error);
  EXPECT_THROW(schedule.beta(11), c10::Error);
  EXPECT_THROW(schedule.alpha_bar(-1), c10::Error);
  EXPECT_THROW(schedule.jump_beta(3, 3), c10::Error);
  const torch::Tensor like = torch::zeros({1, 1});
  EXPECT_ANY_THROW(schedule.gather(Table::kBeta, torch::tensor({11}, torch::kInt64), like));
  EXPECT_THROW(schedule.gather(Table::kBeta, torch::tensor({1}, torch::kInt32), like), c10::Error);
  for (int table = 0; table < static_cast<int>(Table::kCount); ++table) {
    for (const std::vector<int64_t>& t : {std::vector<int64_t>{5, 0}, {-1, 5}, {5, 11}}) {
      const torch::Tensor images = torch::zeros({2, 1});
      EXPECT_ANY_THROW(schedule.gather(static_cast<Table>(table), torch::tensor(t), images))
          << "table " << table << " at t = " << torch::tensor(t);
    }
  }
}

TEST(Schedule, IsTheSameWhateverItsKindDoesNotRead) {
  const auto alike = [](ScheduleConfig a, ScheduleConfig b) {
    return without_unused(std::move(a)) == without_unused(std::move(b));
  };
  for (const ScheduleKind kind :
       {ScheduleKind::kLinear, ScheduleKind::kCosine, ScheduleKind::kQuadratic,
        ScheduleKind::kSigmoid, ScheduleKind::kConstant, ScheduleKind::kFlow, ScheduleKind::kEdm}) {
    const ScheduleConfig config = config_of(kind, 10);
    for (int key = 0; key < 5; ++key) {
      ScheduleConfig other = config;
      double* keys[] = {&other.beta_start, &other.beta_end, &other.cosine_s, &other.sigma_min,
                        &other.sigma_max};
      *keys[key] *= 0.5;
      bool same = true;  // every beta of the two schedules
      for (int64_t t = 1; t <= 10; ++t)
        same = same && Schedule(config).beta(t) == Schedule(other).beta(t);
      EXPECT_EQ(alike(config, other), same) << config::to_string(kind) << ", key " << key;
    }
  }
  ScheduleConfig table{.kind = ScheduleKind::kTable, .timesteps = 2, .betas = {0.1, 0.2}};
  ScheduleConfig other = table;
  other.beta_start = other.beta_end = 0.5;
  EXPECT_TRUE(alike(table, other));
  other.betas[1] = 0.3;
  EXPECT_FALSE(alike(table, other));
}

TEST(Schedule, RefusesBetasThatAreNoProbability) {
  EXPECT_THROW(Schedule(config_of(ScheduleKind::kLinear, 10, 0.0, 0.02)), c10::Error);
  EXPECT_THROW(Schedule(config_of(ScheduleKind::kConstant, 10, 0.1, 1.0)), c10::Error);
  EXPECT_THROW(Schedule(config_of(ScheduleKind::kLinear, 0)), c10::Error);
}

TEST(ScheduleGpu, GathersOnTheDevice) {
  if (!torch::cuda::is_available()) {
    GTEST_SKIP() << "no CUDA device";
  }
  const Schedule schedule({});
  const torch::Tensor t = torch::tensor({1, 1000, 17}, torch::kInt64);
  const torch::Tensor like = torch::zeros({3, 1, 2, 2});
  const torch::Tensor got = schedule.gather(Table::kSqrtAlphaBar, t.cuda(), like.cuda());
  EXPECT_TRUE(got.is_cuda());
  EXPECT_TRUE(torch::equal(got.cpu(), schedule.gather(Table::kSqrtAlphaBar, t, like)));
  const torch::Tensor zero = torch::tensor({5, 0}, torch::kInt64).cuda();
  const torch::Tensor at_zero = schedule.gather(Table::kBeta, zero, torch::zeros({2}).cuda());
  EXPECT_TRUE(torch::equal(torch::isnan(at_zero).cpu(), torch::tensor({false, true})));
}

}  // namespace
}  // namespace ddpm::diffusion
