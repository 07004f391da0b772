#include "ddpm/base/text.h"

#include <cmath>
#include <limits>
#include <optional>
#include <stdexcept>

#include <c10/util/Exception.h>
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

TEST(ThreeDigits, NeverHasAnExponentAboveOne) {
  EXPECT_EQ(three_digits(0.0), "0");
  EXPECT_EQ(three_digits(0.25649), "0.256");
  EXPECT_EQ(three_digits(24.53), "24.5");
  EXPECT_EQ(three_digits(999.4), "999");
  EXPECT_EQ(three_digits(999.5), "1,000");
  EXPECT_EQ(three_digits(3840.2), "3,840");
  EXPECT_EQ(three_digits(-12345.6), "-12,346");
  EXPECT_EQ(three_digits(std::nan("")), "nan");
}

TEST(Text, TrimsWhatIsBlankAround) {
  EXPECT_EQ(trimmed(" \ta b\t \r"), "a b");
  EXPECT_EQ(trimmed("a"), "a");
  EXPECT_EQ(trimmed(" \t"), "");
  EXPECT_EQ(trimmed(""), "");
}

TEST(Text, ReadsWholeNumbersOnly) {
  EXPECT_EQ(parsed_number("-1.5e2"), -150.0);
  EXPECT_EQ(parsed_number("+3"), 3.0);
  EXPECT_TRUE(std::isnan(parsed_number("nan").value()));
  for (const char* wrong : {"", "+", "+-1", "1 ", " 1", "1,0", "0x10", "a"})
    EXPECT_EQ(parsed_number(wrong), std::nullopt) << wrong;
}

TEST(Text, SingleQuotedIsOneWordForAShell) {
  EXPECT_EQ(single_quoted(""), "''");
  EXPECT_EQ(single_quoted("two words $HOME"), "'two words $HOME'");
  EXPECT_EQ(single_quoted("it's"), "'it'\\''s'");
}

TEST(Text, KnowsDigits) {
  EXPECT_TRUE(is_digits("0123456789"));
  for (const char* wrong : {"", "-1", "1.0", " 1", "1a", "\xb2"}) EXPECT_FALSE(is_digits(wrong));
}

TEST(Text, CountsThings) {
  EXPECT_EQ(counted(1, "block"), "1 block");
  EXPECT_EQ(counted(0, "block"), "0 blocks");
  EXPECT_EQ(counted(25600, "class"), "25,600 classes");
}

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

TEST(Text, LowersAsciiLettersAlone) { EXPECT_EQ(lowercase("A.PnG \xc3\x84"), "a.png \xc3\x84"); }

TEST(FirstLine, LeavesOutStackTraceAndPlace) {
  try {
    TORCH_CHECK(false, "what\nmore");
  } catch (const c10::Error& error) {
    EXPECT_EQ(first_line(error), "what");
  }
  EXPECT_EQ(first_line(std::runtime_error("[/gloo/tcp/pair.cc:1] closed\nagain")), "closed");
  EXPECT_EQ(first_line(std::runtime_error("[1] stays")), "[1] stays");
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
