#include "src/sample/noise_spacing.h"

#include "ddpm/base/error.h"
#include "ddpm/sample/sample_config.h"
#include "src/sample/jump.h"

#include <cmath>
#include <functional>

#include <gtest/gtest.h>

namespace ddpm::sample {
namespace {

using Times = std::vector<int64_t>;

// The largest distance of number(t) from an even spacing, in gaps to the next t. Near both ends the
// t are few for so many steps, and some move to free ones: these are left out.
double unevenness(const diffusion::Schedule& schedule, const Times& t,
                  const std::function<double(int64_t)>& number) {
  const double first = number(t.front()), last = number(t.back());
  double worst = 0;
  for (size_t i = 0; i < t.size(); ++i) {
    if (t[i] <= 100 || t[i] > schedule.timesteps() - 100) continue;
    const double even =
        first + static_cast<double>(i) / static_cast<double>(t.size() - 1) * (last - first);
    const int64_t next = t[i] < schedule.timesteps() ? t[i] + 1 : t[i] - 1;
    worst = std::max(worst, std::abs(number(t[i]) - even) / std::abs(number(next) - number(t[i])));
  }
  return worst;
}

TEST(NoiseSpacing, IsEvenInItsNumberAndHoldsBothEnds) {
  const diffusion::Schedule schedule(
      {.kind = diffusion::ScheduleKind::kCosine, .timesteps = 20000});
  const auto lambda = [&](int64_t t) { return diffusion::half_log_snr(schedule, t); };
  const auto root = [&](int64_t t) {
    return std::pow(diffusion::noise_level(schedule, t), 1 / 7.0);
  };
  for (const int64_t steps : {2, 5, 10}) {
    const Times by_snr = timesteps_by_noise(schedule, steps, Spacing::kLogSnr);
    const Times karras = timesteps_by_noise(schedule, steps, Spacing::kKarras);
    for (const Times& t : {by_snr, karras}) {
      ASSERT_EQ(std::ssize(t), steps);
      EXPECT_EQ(t.front(), 1);
      EXPECT_EQ(t.back(), 20000);
    }
    EXPECT_LE(unevenness(schedule, by_snr, lambda), 0.7) << steps;
    EXPECT_LE(unevenness(schedule, karras, root), 0.8) << steps;
  }
}

TEST(NoiseSpacing, NeverRepeatsATimestep) {
  for (const auto kind : {diffusion::ScheduleKind::kLinear, diffusion::ScheduleKind::kCosine}) {
    const diffusion::Schedule schedule({.kind = kind, .timesteps = 100});
    for (const Spacing spacing : {Spacing::kLogSnr, Spacing::kKarras}) {
      for (int64_t steps = 1; steps <= 100; ++steps) {
        const Times t = timesteps_by_noise(schedule, steps, spacing);
        ASSERT_EQ(std::ssize(t), steps);
        EXPECT_EQ(t.back(), 100);
        for (size_t i = 1; i < t.size(); ++i) ASSERT_LT(t[i - 1], t[i]) << steps;
      }
    }
  }
}

TEST(Sections, TakeTheirShareEvenly) {
  // 10 timesteps in sections of 5: {1, 5} of the first, {6, 8, 10} of the second.
  EXPECT_EQ(steps_of_sections(10, {2, 3}), (Times{10, 8, 6, 5, 1}));
  // 11 timesteps: the first section has one more.
  EXPECT_EQ(steps_of_sections(11, {2, 1}), (Times{7, 6, 1}));
  EXPECT_EQ(std::ssize(steps_of_sections(300, {10, 15, 20})), 45);
  EXPECT_THROW(steps_of_sections(10, {6, 1}), UsageError);
}

TEST(StepsAt, AreTheStepsThemselves) {
  const diffusion::Schedule schedule({.timesteps = 1000});
  SampleConfig config;
  config.steps_at = {999, 700, 20};
  EXPECT_EQ(timestep_plan(schedule, config),
            (std::vector<PlanStep>{{999, 700}, {700, 20}, {20, 0}}));
  EXPECT_FALSE(find_conflict(config, 1000));
  EXPECT_EQ(find_conflict(config, 998)->key, "steps_at");
  config.steps = 4;
  EXPECT_EQ(find_conflict(config)->key, "steps");
  config.steps = 0;
  for (const int64_t last : {0, -1}) {
    config.steps_at = {20, last};
    EXPECT_EQ(find_conflict(config)->key, "steps_at") << last;
  }
  config.steps_at = {20, 20};
  EXPECT_EQ(find_conflict(config)->key, "steps_at");
}

}  // namespace
}  // namespace ddpm::sample
