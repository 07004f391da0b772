#include "ddpm/base/clock.h"

#include <ctime>

#include <gtest/gtest.h>

namespace ddpm {
namespace {

TEST(Clock, CountsSeconds) {
  const auto now = std::chrono::steady_clock::now();
  EXPECT_GE(seconds_since(now), 0.0);
  EXPECT_NEAR(seconds_since(now - std::chrono::hours(1)), 3600.0, 60.0);
}

TEST(Clock, WritesTheTimeInUtc) {
  std::tm parts{};
  const std::time_t before = std::time(nullptr);
  const std::string text = utc_now();
  ASSERT_NE(::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts), nullptr) << text;
  EXPECT_NEAR(static_cast<double>(::timegm(&parts)), static_cast<double>(before), 2.0);
}

}  // namespace
}  // namespace ddpm
