#include "ddpm/base/progress.h"

#include <algorithm>
#include <limits>

#include <gtest/gtest.h>

namespace ddpm {
namespace {

TEST(FormatDuration, ChoosesTheUnit) {
  EXPECT_EQ(format_duration(0.85), "850 ms");
  EXPECT_EQ(format_duration(12.34), "12.3 s");
  EXPECT_EQ(format_duration(245), "4 min 05 s");
  EXPECT_EQ(format_duration(3 * 3600 + 12 * 60 + 29), "3 h 12 min");
  EXPECT_EQ(format_duration(2 * 86400 + 4 * 3600), "2 d 04 h");
}

TEST(FormatDuration, CarriesIntoTheNextUnit) {
  EXPECT_EQ(format_duration(0.9996), "1.0 s");
  EXPECT_EQ(format_duration(59.96), "1 min 00 s");
  EXPECT_EQ(format_duration(3599.7), "1 h 00 min");
  EXPECT_EQ(format_duration(86399.7), "1 d 00 h");
}

TEST(FormatDuration, IsUnknownForWhatIsNoDuration) {
  EXPECT_EQ(format_duration(-1), "?");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::infinity()), "?");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::quiet_NaN()), "?");
}

std::string printed(double interval_s) {
  testing::internal::CaptureStderr();
  {
    Progress progress("training", 10, 2, interval_s);
    progress.update(2, "loss 0.5");
    progress.update(10, "loss 0.1");
  }
  return testing::internal::GetCapturedStderr();
}

TEST(Progress, IsPlainLinesWhereStderrIsNoTerminal) {
  const std::string text = printed(0.0);
  EXPECT_EQ(text.find_first_of("\r\033"), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
  EXPECT_EQ(text.substr(0, text.find('\n')), "training 2/10  loss 0.5  ETA ?");
  EXPECT_NE(text.find("training 10/10  loss 0.1  ETA 0 ms"), std::string::npos) << text;
}

TEST(Progress, IsSilentWithinTheInterval) { EXPECT_EQ(printed(3600.0), ""); }

}  // namespace
}  // namespace ddpm
