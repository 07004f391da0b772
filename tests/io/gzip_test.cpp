#include "ddpm/base/error.h"
#include "ddpm/io/archive.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <gtest/gtest.h>

namespace ddpm::io {
namespace {

using fixtures::Bytes;
using fixtures::from_text;

Bytes numbers(size_t count) {
  Bytes bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<uint8_t>(i * 2654435761u >> 13);
  return bytes;
}

TEST(Gzip, ReturnsPlainFilesAsTheyAre) {
  const TemporaryFolder folder;
  fixtures::write(folder / "plain.gz", from_text("no gzip in spite of the name"));
  EXPECT_EQ(read_file_maybe_gzip(folder / "plain.gz"), from_text("no gzip in spite of the name"));
  fixtures::write(folder / "empty", {});
  EXPECT_EQ(read_file_maybe_gzip(folder / "empty"), Bytes{});
}

TEST(Gzip, UnpacksContentLongerThanItsBuffers) {
  const TemporaryFolder folder;
  const Bytes content = numbers(9'000'001);
  fixtures::write(folder / "x", fixtures::gzip(content));
  EXPECT_EQ(read_file_maybe_gzip(folder / "x"), content);
}

// 1 MiB of zeros packs to about 1 kB: all input is consumed long before all output is out.
TEST(Gzip, UnpacksContentThatPacksWell) {
  const TemporaryFolder folder;
  const Bytes content(20'000'000, 0);
  fixtures::write(folder / "x", fixtures::gzip(content));
  EXPECT_EQ(read_file_maybe_gzip(folder / "x"), content);
}

TEST(Gzip, JoinsMembers) {
  const TemporaryFolder folder;
  Bytes two = fixtures::gzip(from_text("one "));
  const Bytes second = fixtures::gzip(from_text("two"));
  two.insert(two.end(), second.begin(), second.end());
  fixtures::write(folder / "x.gz", two);
  EXPECT_EQ(read_file_maybe_gzip(folder / "x.gz"), from_text("one two"));
}

TEST(Gzip, NamesTheTruncatedFileWhereverItIsCut) {
  const TemporaryFolder folder;
  const Bytes packed = fixtures::gzip(numbers(5000));
  for (const size_t size :
       {size_t{2}, size_t{9}, packed.size() / 2, packed.size() - 8, packed.size() - 1}) {
    fixtures::write(folder / "cut.gz", Bytes(packed.begin(), packed.begin() + size));
    const std::string message =
        fixtures::message_of<IoError>([&] { read_file_maybe_gzip(folder / "cut.gz"); });
    EXPECT_CONTAINS(message, "cut.gz: is a truncated gzip file");
  }
}

TEST(Gzip, FindsAFlippedBitByTheChecksum) {
  const TemporaryFolder folder;
  Bytes packed = fixtures::gzip(numbers(5000));
  packed[packed.size() - 6] ^= 1;  // in the CRC-32
  fixtures::write(folder / "bad.gz", packed);
  EXPECT_CONTAINS(fixtures::message_of<IoError>([&] { read_file_maybe_gzip(folder / "bad.gz"); }),
                  "bad.gz: is a damaged gzip file");
}

TEST(Gzip, NamesTheMissingFile) {
  EXPECT_CONTAINS(fixtures::message_of<IoError>([] { read_file_maybe_gzip("/no/such.gz"); }),
                  "/no/such.gz");
}

}  // namespace
}  // namespace ddpm::io
