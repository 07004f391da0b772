#include "ddpm/sample/sample_config.h"

#include <string>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

SampleConfig read(const std::string& keys) {
  auto document = config::Document::parse("[sample]\n" + keys, "test.toml");
  auto reader = document.section("sample");
  const SampleConfig config = read_sample_config(reader);
  document.check_all_read();
  return config;
}

std::string error_of(const std::string& keys) {
  try {
    read(keys);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(SampleConfig, DefaultIsAlgorithm2OverAllSteps) {
  const SampleConfig config = read("");
  EXPECT_EQ(config.method, kDdpm);
  EXPECT_EQ(config.steps, 0);
  EXPECT_EQ(config.sigma, Sigma::kSmall);
  EXPECT_EQ(config.clip, Clip::kRederive);
}

TEST(SampleConfig, ReadsEveryKey) {
  const SampleConfig config = read(
      "method = 'ddim'\nsteps = 50\neta = 0.25\nsigma = 'small'\nspacing = 'quadratic'\n"
      "clip = 'none'\nnum = 9\nbatch = 4\n");
  EXPECT_EQ(config.method, kDdim);
  EXPECT_EQ(config.steps, 50);
  EXPECT_EQ(config.eta, 0.25);
  EXPECT_EQ(config.spacing, Spacing::kQuadratic);
  EXPECT_EQ(config.clip, Clip::kNone);
  EXPECT_EQ(config.num, 9);
  EXPECT_EQ(config.batch, 4);
}

TEST(SampleConfig, RefusesCombinationsThatMeanNothingAndSaysWhere) {
  const std::string eta = error_of("method = 'ddpm'\neta = 0.5\n");
  EXPECT_NE(eta.find("test.toml:3:"), std::string::npos) << eta;
  EXPECT_NE(eta.find("needs method ddim"), std::string::npos) << eta;
  EXPECT_NE(error_of("method = 'ddpm'\nsigma = 'hat'\n").find("called large"), std::string::npos);
  EXPECT_NE(error_of("method = 'ddim'\nsigma = 'large'\n").find("called hat"), std::string::npos);
  EXPECT_NE(error_of("method = 'ddim'\nsigma = 'hat'\neta = 0.5\n"), "no error");
  EXPECT_NE(error_of("method = 'ddim'\nsigma = 'learned'\n").find("needs method ddpm"),
            std::string::npos);
  EXPECT_NE(error_of("last_alpha = 'first'\n").find("needs method ddim"), std::string::npos);
  EXPECT_EQ(error_of("method = 'ddim'\nsigma = 'hat'\n"), "no error");
  EXPECT_EQ(error_of("method = 'ddim'\neta = 1.0\n"), "no error");
  EXPECT_EQ(error_of("method = 'ddpm'\nsigma = 'large'\n"), "no error");
}

TEST(SampleConfig, RefusesValuesOutOfRange) {
  EXPECT_NE(error_of("method = 'ddim'\neta = 1.5\n"), "no error");
  EXPECT_NE(error_of("steps = -1\n"), "no error");
  EXPECT_NE(error_of("num = 0\n"), "no error");
  EXPECT_NE(error_of("batch = 0\n"), "no error");
}

std::vector<int64_t> times(const SampleConfig& config) {
  std::vector<int64_t> t;
  for (const PlanStep& step : timestep_plan(diffusion::Schedule({.timesteps = 100}), config))
    t.push_back(step.t);
  return t;
}

TEST(SampleConfig, TheOffsetMovesTheLeadingStepsAsFarAsThereIsRoom) {
  SampleConfig config;
  config.steps = 4;
  EXPECT_EQ(times(config), (std::vector<int64_t>{76, 51, 26, 1}));
  config.steps_offset = 1;
  EXPECT_EQ(times(config), (std::vector<int64_t>{77, 52, 27, 2}));
  config.steps_offset = 25;
  EXPECT_EQ(times(config), (std::vector<int64_t>{100, 76, 51, 26}));
  config.spacing = Spacing::kTrailing;
  EXPECT_EQ(times(config), (std::vector<int64_t>{100, 75, 50, 25}));
  config.spacing = Spacing::kLeading;
  config.steps = 0;
  EXPECT_EQ(times(config).front(), 100);
  EXPECT_EQ(times(config).back(), 1) << "all of 1..T stay all of them";
}

TEST(SampleConfig, TheLastAlphaDecidesWhereTheLastJumpEnds) {
  SampleConfig config;
  config.method = kDdim;
  config.steps = 4;
  EXPECT_EQ(timestep_plan(diffusion::Schedule({.timesteps = 100}), config).back().s, 0);
  config.last_alpha = LastAlpha::kFirst;
  EXPECT_EQ(timestep_plan(diffusion::Schedule({.timesteps = 100}), config).back().s, 1);
}

TEST(SampleConfig, StepsAreCheckedAgainstTheScheduleOnceItIsKnown) {
  SampleConfig config;
  config.steps = 101;
  EXPECT_FALSE(find_conflict(config));
  EXPECT_FALSE(find_conflict(config, 101));
  const auto conflict = find_conflict(config, 100);
  ASSERT_TRUE(conflict);
  EXPECT_EQ(conflict->key, "steps");
}

// Previews and measurements of any config's sampling.
TEST(SampleConfig, WithDdimNeverConflicts) {
  SampleConfig config;
  config.method = "unipc";
  config.order = 2;
  config.steps_at = {90, 50, 10};
  EXPECT_FALSE(find_conflict(config, 100));
  EXPECT_FALSE(find_conflict(with_ddim(config, 7), 100));
  config = {};
  config.sigma = Sigma::kAnalytic;
  EXPECT_FALSE(find_conflict(with_ddim(config, 7), 100));
  EXPECT_EQ(with_ddim(config, 7).sigma, Sigma::kSmall);
}

}  // namespace
}  // namespace ddpm::sample
