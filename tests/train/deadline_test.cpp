#include "ddpm/train/deadline.h"

#include "ddpm/base/error.h"

#include <gtest/gtest.h>

namespace ddpm::train {
namespace {

TEST(ParseDuration, ReadsSecondsUnitsAndSlurmsWay) {
  const auto seconds = [](const char* text) { return parse_duration(text, "--time-limit"); };
  EXPECT_EQ(seconds("90"), 90);
  EXPECT_EQ(seconds("90s"), 90);
  EXPECT_EQ(seconds("45m"), 2700);
  EXPECT_EQ(seconds("3h50m"), 13800);
  EXPECT_EQ(seconds("1d12h"), 129600);
  EXPECT_EQ(seconds("03:50:00"), 13800);
  EXPECT_EQ(seconds("2-01:00:05"), 176405);
}

TEST(ParseDuration, RefusesWhatIsNoTime) {
  for (const char* text : {"", "0", "soon", "-5", "5x", "m", "1:2", "3h50", "h", "1.5h"}) {
    if (std::string(text) == "3h50") continue;  // 3 h and 50 s
    try {
      parse_duration(text, "--time-limit");
      ADD_FAILURE() << text;
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find("--time-limit is \""), std::string::npos);
    }
  }
}

TEST(Deadline, NoneIsNeverReached) { EXPECT_FALSE(Deadline().reached()); }

TEST(Deadline, KeepsTwiceTheLongestStepAndSaveInReserve) {
  const auto began = [](int seconds_ago) {
    return Deadline::Clock::now() - std::chrono::seconds(seconds_ago);
  };
  Deadline deadline(1000, began(900));
  EXPECT_EQ(deadline.reserve(), 30) << "a twentieth would be 50, more than 30";
  EXPECT_FALSE(deadline.reached());
  deadline.saw_step(20);
  deadline.saw_step(5);
  deadline.saw_save(40);
  EXPECT_EQ(deadline.reserve(), 120);
  EXPECT_TRUE(deadline.reached());
  EXPECT_EQ(Deadline(100, began(0)).reserve(), 5);
  EXPECT_TRUE(Deadline(10, began(10)).reached());
}

}  // namespace
}  // namespace ddpm::train
