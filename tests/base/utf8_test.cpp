#include "ddpm/base/text.h"

#include <gtest/gtest.h>

namespace ddpm {
namespace {

// The rows of Unicode's table of well-formed sequences: the first and the last of each.
TEST(Utf8, KnowsEveryWellFormedRange) {
  for (const char* text :
       {"\x01\x7F", "\xC2\x80\xDF\xBF", "\xE0\xA0\x80\xE0\xBF\xBF", "\xE1\x80\x80\xEC\xBF\xBF",
        "\xED\x80\x80\xED\x9F\xBF", "\xEE\x80\x80\xEF\xBF\xBF", "\xF0\x90\x80\x80\xF0\xBF\xBF\xBF",
        "\xF1\x80\x80\x80\xF3\xBF\xBF\xBF", "\xF4\x80\x80\x80\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(is_utf8(text)) << as_utf8(text);
    EXPECT_EQ(as_utf8(text), text);
  }
  EXPECT_TRUE(is_utf8(""));
}

TEST(Utf8, RefusesWhatLiesBeside) {
  for (const char* text : {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80",
                           "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF",
                           "\xC3", "\xE2\x82", "\xF0\x9F\x98", "\xC3(", "\xE2(\xA1", "\xE2\x82("}) {
    EXPECT_FALSE(is_utf8(text)) << as_utf8(text);
  }
}

TEST(Utf8, ShowsOtherBytesAsEscapes) {
  EXPECT_EQ(as_utf8("caf\xE9/\xC3\xA9.png"), "caf\\xE9/\xC3\xA9.png");
  EXPECT_EQ(as_utf8("\xE2\x82"), "\\xE2\\x82");
  EXPECT_EQ(as_utf8(std::string_view("\0\xFF", 2)), std::string("\0", 1) + "\\xFF");
}

}  // namespace
}  // namespace ddpm
