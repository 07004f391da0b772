#include "src/data/image_tar.h"

#include "ddpm/base/error.h"
#include "ddpm/data/factory.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <filesystem>

#include <gtest/gtest.h>
#include <torch/types.h>

// WebDataset shards written by Python's tarfile (scripts/make_tar_golden.py): image i is grey, 4x3,
// with the value 20 i + x + 10 y, of class i mod 2.

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;
using fixtures::message_of;

const fs::path kTar = fs::path(DDPM_SOURCE_DIR) / "tests/golden/tar";

void expect_images(const Dataset& dataset, int64_t count) {
  ASSERT_EQ(dataset.size(), count);
  for (int64_t i = 0; i < count; ++i) {
    const Example example = dataset.get(i);
    EXPECT_EQ(example.label, i % 2);
    EXPECT_EQ(example.image[0][2][3].item<int64_t>(), 20 * i + 3 + 20);
  }
}

TEST(ImageTar, AShardIsADataSetWithItsClasses) {
  const auto one = open_image_tar(kTar / "shard-000.tar", {std::nullopt, 1});
  expect_images(*one, 3);
  EXPECT_EQ(one->class_count(), 2);
}

TEST(ImageTar, AFolderOfShardsIsOneDataSet) {
  const TemporaryFolder folder;
  for (const char* name : {"shard-000.tar", "shard-001.tar"})
    fs::copy_file(kTar / name, folder / name);
  const auto all = open_image_tar(folder.path(), {std::nullopt, 1});
  expect_images(*all, 5);
  EXPECT_EQ(kind_of_path(folder.path()), "tar");
  EXPECT_EQ(kind_of_path(kTar / "shard-000.tar"), "tar");
  // A folder of images that also holds an archive is a folder of images.
  fixtures::write(folder / "a.pgm", fixtures::flat_pnm(4, 3, 1, 7));
  EXPECT_EQ(kind_of_path(folder.path()), "folder");
}

TEST(ImageTar, ClassesMayBeNamesOrFolders) {
  const auto named = open_image_tar(kTar / "text.tar", {std::nullopt, 1});
  EXPECT_EQ(named->class_names(), (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(named->get(0).label, 1);
  EXPECT_EQ(named->get(1).label, 0);
  ImageOptions none{std::nullopt, 1};
  none.labels = "none";
  EXPECT_EQ(open_image_tar(kTar / "text.tar", none)->class_count(), 0);
}

// The archives' names are no classes.
TEST(ImageTar, AShardIsNoClass) {
  const TemporaryFolder folder;
  const auto pack = [&](const std::string& archive, const std::string& entry) {
    fixtures::write(folder / entry, fixtures::flat_pnm(4, 3, 1, 7));
    const std::string command = "tar -C '" + folder.path().string() + "' -cf '" +
                                (folder / archive).string() + "' '" + entry + "'";
    ASSERT_EQ(std::system(command.c_str()), 0);
    fs::remove_all(folder / entry.substr(0, entry.find('/')));
  };
  pack("a.tar", "cat/1.pgm");
  pack("b.tar", "dog/1.pgm");
  const auto all = open_image_tar(folder.path(), {std::nullopt, 1});
  EXPECT_EQ(all->class_names(), (std::vector<std::string>{"cat", "dog"}));
}

TEST(ImageTar, FaultsAreNamedInOneLine) {
  const TemporaryFolder folder;
  EXPECT_NE(message_of<IoError>([&] {
              open_image_tar(folder.path(), {std::nullopt, 1});
            }).find("holds no .tar file"),
            std::string::npos);
  EXPECT_NE(message_of<IoError>([&] {
              open_image_tar(kTar / "gnu.tar", {std::nullopt, 1});
            }).find("gnu.tar"),
            std::string::npos);
}

}  // namespace
}  // namespace ddpm::data
