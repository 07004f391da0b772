#include "ddpm/io/bytes.h"

#include <array>
#include <vector>

#include <gtest/gtest.h>

namespace ddpm::io::bytes_test {
namespace {

constexpr std::array<uint8_t, 8> kBytes = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0xF8};

TEST(Bytes, NumbersInBothOrders) {
  EXPECT_EQ(little_endian(std::span(kBytes)), 0xF807060504030201u);
  EXPECT_EQ(big_endian(std::span(kBytes)), 0x01020304050607F8u);
  EXPECT_EQ(little_endian(std::span(kBytes).subspan(6)), 0xF807u);
  EXPECT_EQ(big_endian(std::span(kBytes).subspan(6)), 0x07F8u);
  EXPECT_EQ(big_endian(std::span<const uint8_t>()), 0u);
}

TEST(Bytes, AppendedNumbersAreReadBack) {
  std::string out = "x";
  append_little_endian(out, 0x0102F3, 3);
  EXPECT_EQ(out, "x\xF3\x02\x01");
  append_little_endian(out, ~uint64_t{0}, 10);
  EXPECT_EQ(out.substr(4), std::string(8, '\xFF') + std::string(2, '\0'));
}

TEST(Bytes, SpansOfTextsAndValues) {
  const std::string text = "ab";
  EXPECT_EQ(text_of(bytes_of(text)), text);
  const std::vector<uint32_t> values = {0x04030201, 0xF8070605};
  const auto bytes = bytes_of(std::span(values));
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), kBytes.begin(), kBytes.end()));
}

TEST(Bytes, KnowABeginning) {
  EXPECT_TRUE(begins_with(bytes_of("abc"), bytes_of("ab")));
  EXPECT_TRUE(begins_with(bytes_of("ab"), bytes_of("ab")));
  EXPECT_FALSE(begins_with(bytes_of("a"), bytes_of("ab")));
  EXPECT_FALSE(begins_with(bytes_of("ba"), bytes_of("ab")));
}

}  // namespace
}  // namespace ddpm::io::bytes_test
