#include "ddpm/io/image.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::io {
namespace {

TEST(MakeGrid, PlacesImagesRowByRow) {
  torch::Tensor images = torch::empty({5, 1, 2, 3}, torch::kUInt8);
  for (int i = 0; i < 5; ++i) images[i].fill_(10 * (i + 1));
  const torch::Tensor grid = make_grid(images, /*columns=*/2, /*padding=*/1, /*background=*/7);
  ASSERT_EQ(grid.sizes(), (torch::IntArrayRef{1, 3 * 3 + 1, 2 * 4 + 1}));
  for (int i = 0; i < 5; ++i) {
    const int y = 1 + i / 2 * 3, x = 1 + i % 2 * 4;
    EXPECT_TRUE(torch::equal(grid.slice(1, y, y + 2).slice(2, x, x + 3), images[i]));
  }
  // What no image covers is background: 90 pixels less 5 images of 6.
  EXPECT_EQ((grid == 7).sum().item<int>(), 90 - 30);
}

TEST(MakeGrid, BackgroundIsOpaque) {
  for (const int64_t channels : {2, 4}) {
    const torch::Tensor grid =
        make_grid(torch::zeros({3, channels, 4, 4}, torch::kUInt8), 2, 1, /*background=*/7);
    EXPECT_EQ(grid[0][0][0].item<int>(), 7);
    EXPECT_EQ(grid[channels - 1][0][0].item<int>(), 255);
    EXPECT_EQ(grid[channels - 1][1][1].item<int>(), 0);
  }
}

TEST(MakeGrid, ShowsManyChannelsSideBySide) {
  const torch::Tensor images = torch::arange(2 * 5 * 2 * 3).view({2, 5, 2, 3}).to(torch::kByte);
  const torch::Tensor shown = viewable(images);
  EXPECT_EQ(shown.sizes(), (torch::IntArrayRef{2, 1, 2, 15}));
  for (int64_t c = 0; c < 5; ++c)
    EXPECT_TRUE(shown.slice(3, 3 * c, 3 * c + 3).squeeze(1).equal(images.select(1, c)));
  EXPECT_TRUE(viewable(images.narrow(1, 0, 4)).equal(images.narrow(1, 0, 4)));
  EXPECT_TRUE(make_grid(images, 1, 0).equal(torch::cat({shown[0], shown[1]}, 1)));
}

TEST(Enlarged, RepeatsPixelsUntilTheLongerSideIsLongEnough) {
  const torch::Tensor image = torch::arange(6).to(torch::kUInt8).view({1, 2, 3});
  const torch::Tensor large = enlarged(image, /*side=*/7);
  ASSERT_EQ(large.sizes(), (torch::IntArrayRef{1, 6, 9}));
  for (int y = 0; y < 6; ++y) {
    for (int x = 0; x < 9; ++x)
      EXPECT_EQ(large[0][y][x].item<int>(), image[0][y / 3][x / 3].item<int>());
  }
  EXPECT_TRUE(torch::equal(enlarged(image, 3), image));
  EXPECT_EQ(enlarged(image, 500).size(2), 24);  // not beyond 8 times
}

TEST(MakeGrid, IsNearlySquareByDefault) {
  const auto columns_of = [](int64_t count) {
    return make_grid(torch::zeros({count, 3, 4, 4}, torch::kUInt8), 0, 0).size(2) / 4;
  };
  EXPECT_EQ(columns_of(1), 1);
  EXPECT_EQ(columns_of(2), 2);
  EXPECT_EQ(columns_of(16), 4);
  EXPECT_EQ(columns_of(17), 5);
  EXPECT_EQ(make_grid(torch::zeros({3, 3, 4, 4}, torch::kUInt8), 8, 0).size(2),
            12);  // no empty columns
}

}  // namespace
}  // namespace ddpm::io
