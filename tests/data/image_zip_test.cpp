#include "src/data/image_zip.h"

#include "ddpm/base/error.h"
#include "src/data/image_folder.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

using fixtures::flat_pnm;
using fixtures::message_of;

TEST(ImageZip, IsTheFolderItWasPackedFrom) {
  const TemporaryFolder folder;
  const std::map<std::string, fixtures::Bytes> files = {
      {"dog/1.ppm", flat_pnm(4, 6, 3, 10)},
      {"cat/2.pgm", flat_pnm(4, 6, 1, 20)},
      {"cat/sub/1.PGM", flat_pnm(4, 6, 1, 30)},
      {"__MACOSX/cat/._2.pgm", fixtures::from_text("no image")},
      {"readme.txt", fixtures::from_text("text")},
  };
  for (const auto& [name, bytes] : files) fixtures::write(folder / ("tree/" + name), bytes);
  fixtures::write_zip(folder / "tree.zip", files);
  const auto tree = open_image_folder(folder / "tree", {std::nullopt, 3});
  const auto zip = open_image_zip(folder / "tree.zip", {std::nullopt, 3});
  ASSERT_EQ(zip->size(), 3);
  ASSERT_EQ(tree->size(), 3);
  EXPECT_EQ(zip->shape(), tree->shape());
  EXPECT_EQ(zip->class_names(), tree->class_names());
  for (int64_t i = 0; i < zip->size(); ++i) {
    EXPECT_TRUE(torch::equal(zip->get(i).image, tree->get(i).image));
    EXPECT_EQ(zip->get(i).label, tree->get(i).label);
  }
}

TEST(ImageZip, NamesArchiveAndEntryInErrors) {
  const TemporaryFolder folder;
  fixtures::write_zip(folder / "mixed.zip",
                      {{"1.pgm", flat_pnm(4, 6, 1, 1)}, {"2.pgm", flat_pnm(5, 6, 1, 1)}});
  EXPECT_CONTAINS(
      message_of<IoError>([&] { open_image_zip(folder / "mixed.zip", {}); }),
      "mixed.zip/2.pgm: is 5x6 (height x width), but 1.pgm is 4x6; set data.image_size");
  fixtures::write_zip(folder / "text.zip", {{"readme.txt", fixtures::from_text("text")}});
  EXPECT_CONTAINS(message_of<IoError>([&] { open_image_zip(folder / "text.zip", {}); }),
                  "text.zip: no images in this zip archive");
  EXPECT_CONTAINS(message_of<IoError>([&] { open_image_zip(folder / "none.zip", {}); }),
                  "none.zip: does not exist");
}

// Numbers taken with Pillow and numpy from the same file. Decoders differ by their rounding of the
// inverse DCT and by how they enlarge the colour channels, which the mean over an image hardly
// sees: 0.5 of 255.
TEST(ImageZip, CifarHasTheKnownContent) {
  const std::filesystem::path path =
      std::filesystem::path(DDPM_TEST_DATA) / "cifar10-jpeg" / "train.zip";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no real images at " << path;
  const auto set = open_image_zip(path, {});
  ASSERT_EQ(set->size(), 50000);
  EXPECT_EQ(set->shape(), (ImageShape{3, 32, 32}));
  EXPECT_EQ(set->class_names(),
            (std::vector<std::string>{"airplane", "automobile", "bird", "cat", "deer", "dog",
                                      "frog", "horse", "ship", "truck"}));
  EXPECT_EQ(set->get(4999).label, 0);
  EXPECT_EQ(set->get(5000).label, 1);
  EXPECT_EQ(set->get(49999).label, 9);
  torch::Tensor sum = torch::zeros({3}, torch::kDouble);
  for (int64_t i = 0; i < set->size(); i += 50)
    sum += set->get(i).image.to(torch::kDouble).mean({1, 2});
  const torch::Tensor mean = sum / 1000;
  EXPECT_NEAR(mean[0].item<double>(), 123.61824, 0.5);
  EXPECT_NEAR(mean[1].item<double>(), 121.57076, 0.5);
  EXPECT_NEAR(mean[2].item<double>(), 111.97943, 0.5);
  EXPECT_NEAR(set->get(0).image[0].to(torch::kDouble).mean().item<double>(), 148.17578, 0.5);
}

}  // namespace
}  // namespace ddpm::data
