#include "ddpm/io/checksum.h"

#include "ddpm/base/error.h"
#include "ddpm/io/bytes.h"
#include "ddpm/io/file.h"
#include "tests/io/temporary_folder.h"

#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace ddpm::io {
namespace {

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

TEST(Sha256, IsThatOfThePublishedExamples) {  // FIPS 180-2, appendix B
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Sha256, DoesNotDependOnPieces) {
  const std::string text(200, 'x');
  for (size_t cut = 0; cut <= text.size(); cut += 7) {
    Sha256 sum;
    sum.add(std::string_view(text).substr(0, cut));
    sum.add(std::string_view(text).substr(cut));
    EXPECT_EQ(sum.hex(), sha256(text)) << cut;
  }
}

TEST(Sha256, OfAFileIsThatOfItsContent) {
  const TemporaryFolder folder;
  const std::string text(3 * 1000 * 1000, 'x');  // several pieces, the last not full
  write_file_synced(folder / "f", text);
  EXPECT_EQ(sha256_of_file(folder / "f"), sha256(text));
  EXPECT_THROW(sha256_of_file(folder / "none"), IoError);
}

}  // namespace
}  // namespace ddpm::io
