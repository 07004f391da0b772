#include "ddpm/base/error.h"

#include <gtest/gtest.h>

namespace ddpm {
namespace {

TEST(SourceLocation, IsFileLineColumn) {
  EXPECT_EQ(to_string(SourceLocation{"run.toml", 12, 7}), "run.toml:12:7");
  EXPECT_EQ(to_string(SourceLocation{"--set train.steps=5"}), "--set train.steps=5");
}

TEST(ConfigError, BeginsWithThePlace) {
  EXPECT_STREQ(ConfigError({"run.toml", 12, 7}, "train.steps: is 0").what(),
               "run.toml:12:7: train.steps: is 0");
  EXPECT_STREQ(ConfigError({"--set train.steps=0"}, "train.steps: is 0").what(),
               "--set train.steps=0: train.steps: is 0");
}

TEST(IoError, BeginsWithThePathAndKeepsIt) {
  const IoError error("data/images.zip", "is truncated; copy it again");
  EXPECT_STREQ(error.what(), "data/images.zip: is truncated; copy it again");
  EXPECT_EQ(error.path(), "data/images.zip");
}

// File names and values may hold anything; a message is one line for a terminal or a log.
TEST(Errors, AreOneLineWithoutControlCharacters) {
  EXPECT_STREQ(IoError("a\nb.png", "is\tbroken").what(), "a b.png: is broken");
  EXPECT_STREQ(ConfigError({"a\x1b[31m.toml", 1, 2}, "x: is\r\n\"größe\"").what(),
               "a [31m.toml:1:2: x: is  \"größe\"");
  EXPECT_EQ(IoError("a\nb.png", "is broken").path(), "a\nb.png");
}

TEST(Errors, AreAllCaughtAsError) {
  EXPECT_THROW(throw ConfigError({"f"}, "m"), Error);
  EXPECT_THROW(throw IoError("f", "m"), Error);
  EXPECT_THROW(throw UsageError("m"), Error);
}

}  // namespace
}  // namespace ddpm
