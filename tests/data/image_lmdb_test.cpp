#include "src/data/image_lmdb.h"

#include "ddpm/base/error.h"
#include "ddpm/data/factory.h"
#include "ddpm/io/file.h"
#include "ddpm/io/lmdb.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <atomic>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>
#include <torch/types.h>

// Databases written by Python's lmdb (scripts/make_lmdb_golden.py): images are 4x3 with the value 20 i.

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;
using fixtures::Bytes;
using fixtures::message_of;

const fs::path kLmdb = fs::path(DDPM_SOURCE_DIR) / "tests/golden/lmdb";

TEST(ImageLmdb, IsADataSetOfItsImages) {
  const auto set = open_image_lmdb(kLmdb / "bedroom_lmdb", {});
  ASSERT_EQ(set->size(), 3);
  EXPECT_EQ(set->class_count(), 0);
  EXPECT_EQ(set->shape(), (ImageShape{3, 3, 4}));
  for (int64_t i = 0; i < 3; ++i)
    EXPECT_EQ(set->get(i).image[0][1][2].item<int64_t>(), 20 * i) << i;
}

TEST(ImageLmdb, SeveralDatabasesAreClasses) {
  EXPECT_EQ(kind_of_path(kLmdb), "lmdb");
  EXPECT_EQ(kind_of_path(kLmdb / "church_lmdb"), "lmdb");
  const auto set = open_image_lmdb(kLmdb, {});
  ASSERT_EQ(set->size(), 4);
  EXPECT_EQ(set->class_names(), (std::vector<std::string>{"bedroom_lmdb", "church_lmdb"}));
  EXPECT_EQ(set->get(3).label, 1);
  EXPECT_EQ(set->get(3).image[0][0][0].item<int64_t>(), 100);
}

TEST(ImageLmdb, KeysBecomeNamesOfFiles) {
  const io::LmdbReader reader(kLmdb / "church_lmdb");
  EXPECT_EQ(reader.names(), (std::vector<std::string>{"a%2Fb.png", "text"}));
  EXPECT_EQ(reader.size_of("text"), 12u);
  const std::vector<uint8_t> text = reader.read_beginning("text", 3);
  EXPECT_EQ(std::string(text.begin(), text.end()), "not");
  EXPECT_NE(message_of<IoError>([&] {
              reader.read_beginning("other", 1);
            }).find("is not in the database"),
            std::string::npos);
}

TEST(ImageLmdb, SeveralThreadsReadIt) {
  const auto set = open_image_lmdb(kLmdb, {});
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int n = 0; n < 4; ++n)
    threads.emplace_back([&] {
      for (int64_t i = 0; i < 200; ++i)
        wrong += set->get(i % 3).image[0][0][0].item<int64_t>() != 20 * (i % 3);
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(ImageLmdb, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  const auto error = [&](const Bytes& bytes) {
    fixtures::write(folder / "data.mdb", bytes);
    return message_of<IoError>([&] { open_image_lmdb(folder.path(), {}); });
  };
  const std::vector<uint8_t> file = io::read_file(kLmdb / "bedroom_lmdb" / "data.mdb");
  const Bytes whole(file.begin(), file.end());
  EXPECT_NE(error(Bytes(whole.begin(), whole.end() - 4096)).find("is cut short"),
            std::string::npos);
  EXPECT_NE(error(Bytes(20000, 7)).find("is no LMDB database"), std::string::npos);
  EXPECT_NE(error({}), "");
  EXPECT_NE(error(fixtures::from_text("<!DOCTYPE html><html>")), "");
  fs::remove(folder / "data.mdb");
  EXPECT_NE(message_of<IoError>([&] {
              open_image_lmdb(folder.path(), {});
            }).find("holds no LMDB database"),
            std::string::npos);
}

}  // namespace
}  // namespace ddpm::data
