#include "ddpm/base/bytes.h"

#include <limits>

#include <gtest/gtest.h>

namespace ddpm {
namespace {

TEST(FormatBytes, TakesTheUnitThatFits) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1000), "1.00 kB");
  EXPECT_EQ(format_bytes(46'080), "46.1 kB");
  EXPECT_EQ(format_bytes(1'177'427), "1.18 MB");
  EXPECT_EQ(format_bytes(4'250'000'000), "4.25 GB");
  EXPECT_EQ(format_bytes(std::numeric_limits<uint64_t>::max()), "18.4 EB");
}

TEST(FormatBytes, NeverRoundsUpToAThousand) {
  EXPECT_EQ(format_bytes(9'994), "9.99 kB");
  EXPECT_EQ(format_bytes(9'996), "10.0 kB");
  EXPECT_EQ(format_bytes(99'960), "100 kB");
  EXPECT_EQ(format_bytes(999'499), "999 kB");
  EXPECT_EQ(format_bytes(999'500), "1.00 MB");
}

}  // namespace
}  // namespace ddpm
