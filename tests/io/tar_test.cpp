#include "ddpm/base/error.h"
#include "ddpm/io/archive.h"
#include "tests/io/temporary_folder.h"

#include <fstream>
#include <numeric>
#include <string>

#include <gtest/gtest.h>

namespace ddpm::io {
namespace {

const std::filesystem::path kTar = std::filesystem::path(DDPM_SOURCE_DIR) / "tests/golden/tar";

std::string text(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

TEST(Tar, EveryFormatOfPythonsTarfileHoldsTheSameFiles) {
  const std::string long_name =
      "directory-number-00/directory-number-01/directory-number-02/directory-number-03/"
      "directory-number-04/directory-number-05/directory-number-06/directory-number-07/file.bin";
  for (const char* name : {"gnu.tar", "pax.tar", "ustar.tar"}) {
    const TarReader archive(kTar / name);
    EXPECT_EQ(archive.names(), (std::vector<std::string>{"a.txt", long_name, "sub/empty"})) << name;
    EXPECT_EQ(text(archive.read("a.txt")), "content");
    EXPECT_EQ(archive.size_of("sub/empty"), 0u);
    EXPECT_TRUE(archive.read("sub/empty").empty());
    std::vector<uint8_t> bytes(256);
    std::iota(bytes.begin(), bytes.end(), uint8_t{0});
    EXPECT_EQ(archive.read_beginning(long_name, 256), bytes);
    EXPECT_EQ(archive.read(long_name).size(), 768u);
    EXPECT_TRUE(archive.contains("a.txt"));
    EXPECT_FALSE(archive.contains("link")) << "no link and no folder is a file";
    EXPECT_THROW(archive.read("folder"), IoError);
  }
}

TEST(Tar, OfTwoFilesOfOneNameTheLaterCounts) {
  EXPECT_EQ(text(TarReader(kTar / "twice.tar").read("a.txt")), "second");
}

class TarDamage : public testing::Test {
 protected:
  // What reading an archive of these bytes says.
  std::string error_of(const std::string& bytes) {
    const std::filesystem::path path = folder_ / "x.tar";
    std::ofstream(path, std::ios::binary) << bytes;
    try {
      const TarReader archive(path);
      for (const std::string& name : archive.names()) archive.read(name);
      return "";
    } catch (const IoError& error) {
      return error.what();
    }
  }
  TemporaryFolder folder_;
  std::string good_ = text(read_file(kTar / "pax.tar"));
};

TEST_F(TarDamage, IsNamedInOneLine) {
  EXPECT_EQ(error_of(good_), "");
  EXPECT_NE(error_of("PK\3\4" + std::string(600, 'x')).find("is not a tar archive"),
            std::string::npos);
  EXPECT_NE(error_of("\x1f\x8b" + std::string(600, 'x')).find("must be unpacked to .tar"),
            std::string::npos);
  std::string flipped = good_;
  flipped[1024 + 10] ^= 1;  // in the second header
  EXPECT_NE(error_of(flipped).find("is damaged: no header at byte 1024"), std::string::npos)
      << error_of(flipped);
}

// Wherever the archive is cut before its end, there is an error; behind it are only zeros.
TEST_F(TarDamage, CutOffAnywhereIsSafe) {
  const size_t end = good_.find_last_not_of('\0') / 512 * 512 + 512;  // of the last entry
  for (size_t size = 0; size < good_.size(); size += 97) {
    const std::string error = error_of(good_.substr(0, size));
    EXPECT_EQ(error.empty(), size >= end + 512) << size << ": " << error;
    if (error.empty()) continue;
    EXPECT_NE(error.find("x.tar: is "), std::string::npos) << size << ": " << error;
  }
  EXPECT_NE(error_of(good_.substr(0, 512 + 3)).find("is cut off: a.txt"), std::string::npos);
}

TEST_F(TarDamage, AnySingleByteIsSafe) {
  for (size_t at = 0; at < std::min<size_t>(good_.size(), 8192); at += 7) {
    std::string bytes = good_;
    bytes[at] = static_cast<char>(bytes[at] ^ 0xFF);
    error_of(bytes);  // neither a crash nor another exception
  }
}

}  // namespace
}  // namespace ddpm::io
