#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "ddpm/sample/picture_folder.h"
#include "tests/io/temporary_folder.h"

#include <gtest/gtest.h>

namespace ddpm::sample {
namespace {

const torch::Tensor kBatch = torch::arange(2 * 3 * 4 * 4).view({2, 3, 4, 4}).to(torch::kByte);

TEST(PictureWriter, WritesEveryBatchUnderItsIndices) {
  const TemporaryFolder folder;
  const PictureFolder pictures(folder.path());
  PictureWriter writer(pictures);
  writer.write({5, 2}, kBatch);
  writer.write({0, 1}, kBatch + 100);
  writer.wait();
  EXPECT_TRUE(torch::equal(pictures.read(5), kBatch[0]));
  EXPECT_TRUE(torch::equal(pictures.read(2), kBatch[1]));
  EXPECT_TRUE(torch::equal(pictures.read(1), kBatch[1] + 100));
  EXPECT_FALSE(std::filesystem::exists(pictures.file_of(3)));
}

TEST(PictureWriter, AFailedWriteIsThrownByTheNextCall) {
  const TemporaryFolder folder;
  const PictureFolder pictures(folder / "missing");
  PictureWriter writer(pictures);
  writer.write({0, 1}, kBatch);
  EXPECT_THROW(writer.write({2, 3}, kBatch), IoError);
  EXPECT_NO_THROW(writer.wait()) << "it was thrown already";
}

TEST(PictureFolder, AGridHasItsImagesInRows) {
  const TemporaryFolder folder;
  const PictureFolder pictures(folder.path());
  for (int64_t i = 0; i < 4; ++i) pictures.write(i, torch::full({1, 300, 200}, i, torch::kByte));
  const torch::Tensor grid = pictures.grid(4, 2);
  ASSERT_EQ(grid.sizes(), (std::vector<int64_t>{1, 2 * 302 + 2, 2 * 202 + 2}));
  EXPECT_EQ(grid[0][2 + 302][2].item<int64_t>(), 2) << "the third image begins the second row";
}

}  // namespace
}  // namespace ddpm::sample
