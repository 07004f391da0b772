#include "src/report/log_events.h"

#include <gtest/gtest.h>

namespace ddpm::report {
namespace {

TEST(LogEvents, RestartsStopsAndWarningsHaveTheirSteps) {
  const auto events = log_events(
      "[2026-01-31 12:00:00] info starting at step 0\n"
      "[2026-01-31 12:00:01] info step 40: saved runs/a/checkpoints/step-000000040 (1 s)\n"
      "[2026-01-31 12:00:02] warning a young average\nits second line\n"
      "[2026-01-31 12:00:03] warning step 50: 3 updates skipped, their gradient was not finite\n"
      "[2026-01-31 12:00:04] info stopped by SIGTERM and saved at step 55; run the same command\n"
      "[2026-01-31 12:01:00] info resumed from runs/a/checkpoints/step-000000055 (step 55, 440 "
      "images seen)\n"
      "[2026-01-31 12:02:00] error step 60: the checkpoint could not be saved: disk full\n"
      "[2026-01-31 12:03:00] info finished 80 steps (640 images) in 3 min\n");
  struct Expected {
    int64_t step;
    const char* kind;
  };
  const std::vector<Expected> expected{{0, "start"}, {40, "warning"}, {50, "skipped"},
                                       {55, "stop"}, {55, "restart"}, {60, "error"},
                                       {60, "end"}};
  ASSERT_EQ(events.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(events[i]["step"], expected[i].step) << i;
    EXPECT_EQ(events[i]["kind"], expected[i].kind) << i;
  }
  EXPECT_EQ(events[1]["time"], "2026-01-31 12:00:02");
  EXPECT_EQ(events[1]["text"], "a young average");
}

TEST(LogEvents, ARunThatBeginsAnewForgets) {
  const auto events = log_events(
      "[2026-01-31 12:00:00] info starting at step 0\n"
      "[2026-01-31 12:00:03] warning step 50: old\n"
      "[2026-01-31 13:00:00] info starting at step 0\n");
  EXPECT_EQ(events.size(), 1u);
}

TEST(LogEvents, OtherTextsAreNoEvents) {
  EXPECT_TRUE(log_events("").empty());
  EXPECT_TRUE(log_events("[\n[2026]\n[2026-01-31 12:00:00] \nplain\n\xFF\xFE").empty());
}

}  // namespace
}  // namespace ddpm::report
