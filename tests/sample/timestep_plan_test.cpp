#include "ddpm/sample/timestep_plan.h"

#include "ddpm/io/safetensors.h"
#include "ddpm/sample/sample_config.h"

#include <algorithm>
#include <numeric>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

constexpr Spacing kAll[] = {Spacing::kLeading,   Spacing::kTrailing, Spacing::kLinspace,
                            Spacing::kQuadratic, Spacing::kOpenai,   Spacing::kPower};

std::vector<int64_t> timesteps_of(const std::vector<PlanStep>& plan) {
  std::vector<int64_t> t;
  std::transform(plan.begin(), plan.end(), std::back_inserter(t), [](PlanStep p) { return p.t; });
  return t;
}

/// Exactly S jumps, strictly downwards within 1..T, each from where the last one landed, down to 0.
void expect_sound(int64_t timesteps, int64_t steps, Spacing spacing) {
  const auto plan = timestep_plan(timesteps, steps, spacing);
  const std::string name =
      config::to_string(spacing) + " " + std::to_string(steps) + " of " + std::to_string(timesteps);
  ASSERT_EQ(plan.size(), static_cast<size_t>(steps)) << name;
  ASSERT_LE(plan.front().t, timesteps) << name;
  ASSERT_EQ(plan.back().s, 0) << name;
  for (size_t k = 0; k < plan.size(); ++k) {
    ASSERT_LT(plan[k].s, plan[k].t) << name;
    ASSERT_TRUE(k == 0 || plan[k - 1].s == plan[k].t) << name;
  }
}

TEST(TimestepPlan, TakesExactlyTheStepsAskedForForEveryNumberOfThem) {
  for (const int64_t timesteps : {1, 2, 3, 4, 7, 10, 64, 137, 1000}) {
    for (int64_t steps = 1; steps <= timesteps; ++steps) {
      for (const Spacing spacing : kAll) {
        expect_sound(timesteps, steps, spacing);
      }
    }
  }
}

TEST(TimestepPlan, AllStepsMeansEveryTimestep) {
  for (const int64_t timesteps : {1, 2, 50, 1000}) {
    for (const Spacing spacing : kAll) {
      const auto t = timesteps_of(timestep_plan(timesteps, timesteps, spacing));
      for (int64_t k = 0; k < timesteps; ++k) {
        EXPECT_EQ(t[k], timesteps - k) << config::to_string(spacing);
      }
    }
  }
}

TEST(TimestepPlan, ReachesTheEndsThatTheSpacingPromises) {
  for (const int64_t timesteps : {1, 2, 10, 137, 1000}) {
    for (int64_t steps = 1; steps <= timesteps; ++steps) {
      EXPECT_EQ(timestep_plan(timesteps, steps, Spacing::kTrailing).front().t, timesteps);
      EXPECT_EQ(timestep_plan(timesteps, steps, Spacing::kLinspace).front().t, timesteps);
      EXPECT_EQ(timestep_plan(timesteps, steps, Spacing::kLeading).back().t, 1);
      if (steps > 1) {
        EXPECT_EQ(timestep_plan(timesteps, steps, Spacing::kLinspace).back().t, 1);
        EXPECT_EQ(timestep_plan(timesteps, steps, Spacing::kQuadratic).back().t, 1);
      }
    }
  }
}

TEST(TimestepPlan, MatchesDiffusersAndDdimsCode) {
  const auto golden = io::SafetensorsFile::open(std::string(DDPM_SOURCE_DIR) +
                                                "/tests/golden/diffusion_plans.safetensors");
  int compared = 0;
  for (const std::string& name : golden.names()) {  // source.spacing.T.S, timesteps counted from 0
    const auto dot1 = name.find('.');
    const auto dot2 = name.find('.', dot1 + 1);
    const auto dot3 = name.find('.', dot2 + 1);
    const std::string spacing_name = name.substr(dot1 + 1, dot2 - dot1 - 1);
    const int64_t timesteps = std::stoll(name.substr(dot2 + 1, dot3 - dot2 - 1));
    const int64_t steps = std::stoll(name.substr(dot3 + 1));
    const auto names = config::names<Spacing>();
    const auto spacing =
        static_cast<Spacing>(std::find(names.begin(), names.end(), spacing_name) - names.begin());
    if (steps == 1 && (spacing == Spacing::kLinspace || spacing == Spacing::kQuadratic)) {
      continue;  // numpy's one-point linspace is its lower end; ours is the upper (timestep_plan.h)
    }
    const auto want = golden.get(name) + 1;
    const auto got = torch::tensor(timesteps_of(timestep_plan(timesteps, steps, spacing)));
    EXPECT_TRUE(torch::equal(got, want)) << name << "\ngot\n" << got << "\nwant\n" << want;
    ++compared;
  }
  EXPECT_GE(compared, 60);
}

// The numbers of steps in scripts/make_exchange_steps_golden.py.
std::vector<int64_t> steps_in_golden(int64_t timesteps) {
  if (timesteps > 50)
    return {1, 2, 3, 5, 7, 10, 13, 20, 25, 30, 33, 50, 61, 64, 99, 100, 121, 250, 300, 333};
  std::vector<int64_t> all(static_cast<size_t>(timesteps));
  std::iota(all.begin(), all.end(), 1);
  return all;
}

io::SafetensorsFile steps_golden() {
  return io::SafetensorsFile::open(std::string(DDPM_SOURCE_DIR) +
                                   "/tests/golden/diffusers_steps.safetensors");
}

// Where `expected` says [2, S] of t and of the landing, which is 0 for the final alpha_bar.
void expect_diffusers_plan(SampleConfig config, int64_t timesteps, const torch::Tensor& expected,
                           const std::string& name) {
  const auto want = expected.accessor<int16_t, 2>();
  for (const std::string method : {kDdim, kDdpm}) {
    for (const LastAlpha last : {LastAlpha::kOne, LastAlpha::kFirst}) {
      if (method == kDdpm && last == LastAlpha::kFirst) continue;
      config.method = method;
      config.last_alpha = last;
      const auto plan = timestep_plan(diffusion::Schedule({.timesteps = timesteps}), config);
      ASSERT_EQ(static_cast<int64_t>(plan.size()), expected.size(1)) << name;
      for (size_t k = 0; k < plan.size(); ++k) {
        const auto i = static_cast<int64_t>(k);
        int64_t landing = want[1][i] == 0 && last == LastAlpha::kFirst ? 1 : want[1][i];
        if (method == kDdpm) landing = k + 1 < plan.size() ? want[0][i + 1] : 0;
        ASSERT_EQ(plan[k].t, want[0][i]) << name << ", S = " << plan.size() << ", step " << k;
        ASSERT_EQ(plan[k].s, landing) << name << ", S = " << plan.size() << ", step " << k;
      }
    }
  }
}

TEST(TimestepPlan, SteppingOfDiffusersIsThatOfItsSchedulersForEveryNumberOfSteps) {
  const auto golden = steps_golden();
  int plans = 0;
  for (const int64_t timesteps : {10, 50, 1000}) {
    for (const auto& [spacing, offset] : {std::pair(Spacing::kLeading, 0),
                                          {Spacing::kLeading, 1},
                                          {Spacing::kTrailing, 0},
                                          {Spacing::kLinspace, 0}}) {
      const std::string name =
          fmt::format("plan.{}.{}.{}", config::to_string(spacing), offset, timesteps);
      const torch::Tensor all = golden.get(name);
      int64_t at = 0;
      for (const int64_t steps : steps_in_golden(timesteps)) {
        if (offset > 0 && steps == timesteps) continue;  // an IndexError there
        SampleConfig config;
        config.stepping = Stepping::kDiffusers;
        config.spacing = spacing;
        config.steps = steps;
        config.steps_offset = offset;
        expect_diffusers_plan(config, timesteps, all.narrow(1, at, steps), name);
        at += steps;
        ++plans;
      }
      EXPECT_EQ(at, all.size(1)) << name;
    }
  }
  EXPECT_EQ(plans, 4 * (10 + 50 + 20) - 2);
}

TEST(TimestepPlan, OpenaiIsItsRespacing) {
  const auto golden = steps_golden();
  for (const int64_t timesteps : {50, 4000}) {
    const torch::Tensor all = golden.get(fmt::format("openai.{}", timesteps)).to(torch::kLong);
    int64_t at = 0;
    for (const int64_t steps : steps_in_golden(timesteps)) {
      const auto got = timesteps_of(timestep_plan(timesteps, steps, Spacing::kOpenai));
      EXPECT_TRUE(torch::equal(torch::tensor(got), all.narrow(0, at, steps))) << steps;
      at += steps;
    }
    EXPECT_EQ(at, all.size(0));
  }
}

TEST(TimestepPlan, AnOffsetBeyondTIsCutToWhatFits) {
  SampleConfig config;
  config.stepping = Stepping::kDiffusers;
  config.steps = 10;
  config.steps_offset = 3;
  EXPECT_EQ(timesteps_of(timestep_plan(diffusion::Schedule({.timesteps = 10}), config)),
            (std::vector<int64_t>{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}));
  config.steps = 4;  // 1 + 2 i + 3 = 10, 8, 6, 4
  EXPECT_EQ(timesteps_of(timestep_plan(diffusion::Schedule({.timesteps = 10}), config)),
            (std::vector<int64_t>{10, 8, 6, 4}));
}

TEST(TimestepPlan, QuadraticMovesRepeatedStepsUpToTheNextFreeOne) {
  // T = 10, S = 6: 8 (i/5)^2 = 0, 0.32, 1.28, 2.88, 5.12, 8 cuts to 0 0 1 2 5 8; counted from 1 and
  // separated, 1 2 3 4 6 9.
  EXPECT_EQ(timesteps_of(timestep_plan(10, 6, Spacing::kQuadratic)),
            (std::vector<int64_t>{9, 6, 4, 3, 2, 1}));
  // S = 9: 0 0 0 1 2 3 4 6 8 from 0; pushed up to 1..9, all within T.
  EXPECT_EQ(timesteps_of(timestep_plan(10, 9, Spacing::kQuadratic)),
            (std::vector<int64_t>{9, 8, 7, 6, 5, 4, 3, 2, 1}));
}

TEST(TimestepPlan, PowerHasSmallerStepsNearTheImage) {
  // 1000 (i/5)^1.3 = 123.4, 303.9, 514.8, 748.2, 1000.
  EXPECT_EQ(timesteps_of(timestep_plan(1000, 5, Spacing::kPower)),
            (std::vector<int64_t>{1000, 748, 515, 304, 123}));
  // 10 (i/8)^1.3 = 0.67, 1.65, 2.79, 4.06, 5.43, 6.88, 8.41, 10: rounded 1 2 3 4 5 7 8 10.
  EXPECT_EQ(timesteps_of(timestep_plan(10, 8, Spacing::kPower)),
            (std::vector<int64_t>{10, 8, 7, 5, 4, 3, 2, 1}));
}

TEST(TimestepPlan, RefusesStepCountsOutsideOneToT) {
  EXPECT_THROW(timestep_plan(10, 0, Spacing::kLeading), c10::Error);
  EXPECT_THROW(timestep_plan(10, 11, Spacing::kQuadratic), c10::Error);
}

}  // namespace
}  // namespace ddpm::sample
