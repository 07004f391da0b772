#include "ddpm/base/text.h"

#include <gtest/gtest.h>

namespace ddpm {
namespace {

TEST(Text, WritesCommasBetweenThousands) {
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(25600), "25,600");
  EXPECT_EQ(with_commas(-1234567), "-1,234,567");
  EXPECT_EQ(with_commas(-100), "-100");
}

TEST(Text, CountsThings) {
  EXPECT_EQ(counted(1, "block"), "1 block");
  EXPECT_EQ(counted(0, "block"), "0 blocks");
  EXPECT_EQ(counted(25600, "class"), "25,600 classes");
}

TEST(Text, FindsTheNearestName) {
  const std::vector<std::string> flags{"--steps", "--spacing", "--seed", "--out"};
  EXPECT_EQ(nearest("--step", flags), "--steps");
  EXPECT_EQ(nearest("--stesp", flags), "--steps");
  EXPECT_EQ(nearest("--wholly-different", flags), "");
}

TEST(Text, CountsCharactersRatherThanBytes) {
  EXPECT_EQ(columns("abc"), 3);
  EXPECT_EQ(columns("Stra\xc3\x9f"
                    "e"),
            6);
}

TEST(Text, WrapsBetweenWords) {
  EXPECT_EQ(wrapped("one two three", 7), (std::vector<std::string>{"one two", "three"}));
  EXPECT_EQ(wrapped("one two three", 8), (std::vector<std::string>{"one two", "three"}));
  EXPECT_EQ(wrapped("unbreakable", 4), (std::vector<std::string>{"unbreakable"}));
  EXPECT_EQ(wrapped("a\nb c", 80), (std::vector<std::string>{"a", "b c"}));
  EXPECT_EQ(wrapped("", 80), std::vector<std::string>{});
}

}  // namespace
}  // namespace ddpm
