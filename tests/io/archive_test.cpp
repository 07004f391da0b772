#include "ddpm/io/archive.h"

#include "ddpm/base/error.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include <gtest/gtest.h>

namespace ddpm::io {
namespace {

using fixtures::Bytes;
using fixtures::from_text;

TEST(ZipReader, ListsFilesSortedWithoutFolders) {
  const TemporaryFolder folder;
  fixtures::write_zip(
      folder / "a.zip",
      {{"z.txt", from_text("last")}, {"dir/", {}}, {"dir/b", from_text("b")}, {"a", {}}});
  const ZipReader zip(folder / "a.zip");
  EXPECT_EQ(zip.names(), (std::vector<std::string>{"a", "dir/b", "z.txt"}));
  EXPECT_EQ(zip.read("z.txt"), from_text("last"));
  EXPECT_EQ(zip.read("a"), Bytes{});
}

TEST(ZipReader, ReadsStoredAndDeflatedEntriesAlike) {
  const TemporaryFolder folder;
  Bytes content(100000);
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<uint8_t>(i * i / 7);
  fixtures::write_zip(folder / "stored.zip", {{"x", content}}, /*deflate=*/false);
  fixtures::write_zip(folder / "deflated.zip", {{"x", content}}, /*deflate=*/true);
  ASSERT_NE(std::filesystem::file_size(folder / "stored.zip"),
            std::filesystem::file_size(folder / "deflated.zip"));
  EXPECT_EQ(ZipReader(folder / "stored.zip").read("x"), content);
  EXPECT_EQ(ZipReader(folder / "deflated.zip").read("x"), content);
}

TEST(ZipReader, ManyThreadsReadTheRightBytes) {
  const TemporaryFolder folder;
  std::map<std::string, Bytes> files;
  for (int i = 0; i < 40; ++i)
    files["f" + std::to_string(i)] = Bytes(5000 + i, static_cast<uint8_t>(i));
  fixtures::write_zip(folder / "a.zip", files);
  const ZipReader zip(folder / "a.zip");
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (const auto& [name, bytes] : files) wrong += zip.read(name) != bytes;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(ZipReader, NamesTheEntryWhoseChecksumFails) {
  const TemporaryFolder folder;
  fixtures::write_zip(folder / "a.zip", {{"good", from_text("good")}, {"bad", Bytes(1000, 'x')}},
                      /*deflate=*/false);
  Bytes bytes = fixtures::read(folder / "a.zip");
  const auto data = std::search_n(bytes.begin(), bytes.end(), 1000, 'x');
  ASSERT_NE(data, bytes.end());
  data[500] = 'y';
  fixtures::write(folder / "a.zip", bytes);
  const ZipReader zip(folder / "a.zip");
  EXPECT_EQ(zip.read("good"), from_text("good"));
  const std::string message = fixtures::message_of<IoError>([&] { zip.read("bad"); });
  EXPECT_CONTAINS(message, "a.zip/bad: is damaged in the zip archive");
}

TEST(ZipReader, NamesTheEncryptedEntry) {
  const TemporaryFolder folder;
  fixtures::write_zip(folder / "a.zip", {{"secret", from_text("text")}}, true, "password");
  const ZipReader zip(folder / "a.zip");
  EXPECT_CONTAINS(fixtures::message_of<IoError>([&] { zip.read("secret"); }),
                  "a.zip/secret: is encrypted");
}

TEST(ZipReader, NamesTheArchiveThatIsMissingCutOrNoZip) {
  const TemporaryFolder folder;
  const auto opening = [&](const std::string& name) {
    return fixtures::message_of<IoError>([&] { ZipReader zip(folder / name); });
  };
  EXPECT_CONTAINS(opening("none.zip"), "none.zip: does not exist");
  fixtures::write_zip(folder / "cut.zip", {{"x", Bytes(3000, 'x')}}, /*deflate=*/false);
  Bytes bytes = fixtures::read(folder / "cut.zip");
  bytes.resize(bytes.size() / 2);
  fixtures::write(folder / "cut.zip", bytes);
  EXPECT_CONTAINS(opening("cut.zip"), "cut.zip: is not a readable zip archive (truncated?");
  fixtures::write(folder / "text.zip", from_text("hello"));
  EXPECT_CONTAINS(opening("text.zip"), "text.zip: is not a readable zip archive");
  fixtures::write_zip(folder / "a.zip", {{"x", from_text("x")}});
  EXPECT_CONTAINS(fixtures::message_of<IoError>([&] { ZipReader(folder / "a.zip").read("y"); }),
                  "a.zip/y: no such file in the zip archive");
}

TEST(ZipReader, ReadsABeginning) {
  const TemporaryFolder folder;
  Bytes content;
  for (int i = 0; i < 100'000; ++i) content.push_back(static_cast<uint8_t>(i * 7 / 3));
  fixtures::write_zip(folder / "a.zip", {{"x", content}});
  const ZipReader zip(folder / "a.zip");
  EXPECT_EQ(zip.read_beginning("x", 1000), Bytes(content.begin(), content.begin() + 1000));
  EXPECT_EQ(zip.read_beginning("x", 200'000), content);
  EXPECT_EQ(zip.read_beginning("x", 0), Bytes{});
}

// The archive's directory says so, and nothing of that size is allocated: neither beyond what the
// packed bytes can hold, nor because it says that there are more of these than the archive has.
TEST(ZipReader, RefusesSizesThatDataOfThePackedSizeCannotHave) {
  constexpr size_t kPacked = 20, kUnpacked = 24;  // in an entry of the directory
  const Bytes two_gigabytes = {0xF0, 0xFF, 0xFF, 0x7F};
  for (const auto& fields : {std::vector{kUnpacked}, std::vector{kPacked, kUnpacked}}) {
    const TemporaryFolder folder;
    fixtures::write_zip(folder / "a.zip", {{"x", Bytes(5000, 3)}});
    Bytes bytes = fixtures::read(folder / "a.zip");
    const Bytes sign = {'P', 'K', 1, 2};
    const auto entry = std::search(bytes.begin(), bytes.end(), sign.begin(), sign.end());
    ASSERT_NE(entry, bytes.end());
    for (const size_t field : fields)
      std::copy(two_gigabytes.begin(), two_gigabytes.end(), entry + field);
    fixtures::write(folder / "a.zip", bytes);
    const ZipReader zip(folder / "a.zip");
    EXPECT_CONTAINS(fixtures::message_of<IoError>([&] { zip.read("x"); }),
                    "a.zip/x: is damaged in the zip archive (it says that ");
  }
}

}  // namespace
}  // namespace ddpm::io
