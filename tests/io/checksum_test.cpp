#include "ddpm/io/checksum.h"

#include <cstdint>
#include <numeric>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace ddpm::io {
namespace {

std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

struct Vector {
  std::vector<uint8_t> bytes;
  uint32_t crc;
};

std::vector<uint8_t> counting(int from, int step) {
  std::vector<uint8_t> bytes(32);
  for (int i = 0; i < 32; ++i) bytes[i] = static_cast<uint8_t>(from + step * i);
  return bytes;
}

// RFC 3720, appendix B.4; the checksums are printed there in byte order.
std::vector<Vector> rfc_vectors() {
  std::vector<uint8_t> read_command(48, 0);
  read_command[0] = 0x01, read_command[1] = 0xC0;
  read_command[16] = 0x14;
  read_command[22] = 0x04;
  read_command[27] = 0x14;
  read_command[31] = 0x18;
  read_command[32] = 0x28;
  read_command[40] = 0x02;
  return {{std::vector<uint8_t>(32, 0x00), 0x8A9136AA},
          {std::vector<uint8_t>(32, 0xFF), 0x62A8AB43},
          {counting(0, 1), 0x46DD794E},
          {counting(31, -1), 0x113FDB5C},
          {read_command, 0xD9963A56}};
}

TEST(Crc32c, AgreesWithTheVectorsOfRfc3720) {
  for (const auto& [bytes, crc] : rfc_vectors()) {
    EXPECT_EQ(crc32c(bytes), crc);
    EXPECT_EQ(crc32c_by_table(bytes), crc);
  }
}

TEST(Crc32c, AgreesWithThePublishedCheckValue) {
  EXPECT_EQ(crc32c(bytes_of("123456789")), 0xE3069283u);
  EXPECT_EQ(crc32c(bytes_of("")), 0u);
}

TEST(Crc32c, InstructionAndTablesAgreeAtEveryLengthAndAlignment) {
  std::vector<uint8_t> bytes(200);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * i * 31 + 7 * i);
  for (size_t begin = 0; begin < 9; ++begin) {
    for (size_t length = 0; begin + length <= 100; ++length) {
      const std::span<const uint8_t> part(bytes.data() + begin, length);
      ASSERT_EQ(crc32c(part), crc32c_by_table(part)) << begin << ' ' << length;
    }
  }
}

TEST(Crc32c, ContinuesAcrossPieces) {
  std::vector<uint8_t> bytes(1000);
  std::iota(bytes.begin(), bytes.end(), uint8_t{3});
  const std::span<const uint8_t> all(bytes);
  for (const size_t cut : {0, 1, 7, 8, 500, 999, 1000}) {
    EXPECT_EQ(crc32c(all.subspan(cut), crc32c(all.first(cut))), crc32c(all));
    EXPECT_EQ(crc32c_by_table(all.subspan(cut), crc32c_by_table(all.first(cut))), crc32c(all));
  }
}

}  // namespace
}  // namespace ddpm::io
