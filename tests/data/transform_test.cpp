#include "ddpm/data/transform.h"

#include "ddpm/io/image.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

// uint8 [1,height,width] of (3 x^2 + 5 y^2) mod 256.
torch::Tensor rough(int64_t height, int64_t width) {
  const torch::Tensor y = torch::arange(height).view({-1, 1}),
                      x = torch::arange(width).view({1, -1});
  return (3 * x * x + 5 * y * y).remainder(256).to(torch::kUInt8).unsqueeze(0);
}

torch::Tensor difference(const torch::Tensor& a, const torch::Tensor& b) {
  return (a.to(torch::kInt) - b.to(torch::kInt)).abs().max();
}

// Pillow 11: resize((12, 8), BICUBIC) of the 20x30 picture, columns 2 to 10. Pillow rounds to 8
// bits between its two passes and uses 8-bit weights, so neighbouring values may differ by 2.
TEST(ResizeAndCrop, ShrinksLikePillow) {
  const torch::Tensor expected = torch::tensor({{109, 176, 114, 120, 85, 141, 117, 128},
                                                {162, 115, 121, 109, 132, 138, 132, 146},
                                                {141, 116, 135, 115, 126, 128, 129, 126},
                                                {118, 112, 115, 149, 151, 128, 141, 120},
                                                {122, 137, 124, 121, 129, 116, 104, 96},
                                                {115, 119, 133, 130, 135, 96, 168, 91},
                                                {132, 142, 114, 143, 97, 120, 111, 114},
                                                {145, 108, 105, 117, 127, 118, 105, 116}});
  const torch::Tensor image = resize_and_crop(rough(20, 30), {8, 8});
  ASSERT_EQ(image.sizes(), (torch::IntArrayRef{1, 8, 8}));
  EXPECT_LE(difference(image[0], expected).item<int>(), 2);
}

// A large image is scaled channel by channel, to the same values.
TEST(ResizeAndCrop, ScalesLargeImagesAlike) {
  const torch::Tensor plane = rough(1300, 1500);
  const torch::Tensor large = torch::cat({plane, plane.flip({1}), plane.flip({2})});
  const torch::Tensor small = scale_to_cover(large, {70, 75});
  ASSERT_EQ(small.size(0), 3);
  for (int64_t c = 0; c < 3; ++c) {
    const torch::Tensor alone = scale_to_cover(large.narrow(0, c, 1).contiguous(), {70, 75});
    EXPECT_TRUE(torch::equal(small.narrow(0, c, 1), alone));
  }
}

// Pillow 11: resize((45, 30), BICUBIC), row 7, columns 5 to 15.
TEST(ResizeAndCrop, EnlargesLikePillow) {
  const torch::Tensor expected = torch::tensor({131, 145, 161, 185, 226, 182, 101, 28, 45, 98});
  const torch::Tensor image = resize_and_crop(rough(20, 30), {30, 45});
  EXPECT_LE(difference(image[0][7].slice(0, 5, 15), expected).item<int>(), 2);
}

TEST(ResizeAndCrop, KeepsAnImageOfTheRightSize) {
  EXPECT_TRUE(torch::equal(resize_and_crop(rough(9, 7), {9, 7}), rough(9, 7)));
}

TEST(ResizeAndCrop, CutsTheMiddleWhereOneSideFits) {
  EXPECT_TRUE(torch::equal(resize_and_crop(rough(8, 14), {8, 10}), rough(8, 14).slice(2, 2, 12)));
  EXPECT_TRUE(torch::equal(resize_and_crop(rough(13, 6), {8, 6}), rough(13, 6).slice(1, 2, 10)));
}

TEST(ResizeAndCrop, GivesTheAskedSizeForAnyAspect) {
  for (const auto& [height, width] :
       {std::pair{1, 1}, {1, 200}, {200, 1}, {3, 500}, {17, 31}, {64, 48}}) {
    for (const ImageSize size : {ImageSize{16, 16}, {9, 20}, {33, 5}, {1, 1}}) {
      const torch::Tensor image = resize_and_crop(rough(height, width).expand({3, -1, -1}), size);
      EXPECT_EQ(image.sizes(), (torch::IntArrayRef{3, size.height, size.width}));
      EXPECT_TRUE(image.is_contiguous());
    }
  }
}

TEST(ResizeAndCrop, KeepsFlatColours) {
  for (const int value : {0, 1, 127, 254, 255}) {
    const torch::Tensor flat = torch::full({3, 37, 50}, value, torch::kUInt8);
    EXPECT_TRUE((resize_and_crop(flat, {16, 24}) == value).all().item<bool>());
  }
}

TEST(CoveringSize, JustCoversAndKeepsTheAspect) {
  EXPECT_EQ(covering_size({20, 30}, {8, 8}), (ImageSize{8, 12}));
  EXPECT_EQ(covering_size({30, 20}, {8, 8}), (ImageSize{12, 8}));
  EXPECT_EQ(covering_size({5, 5}, {10, 7}), (ImageSize{10, 10}));
  EXPECT_EQ(covering_size({1, 1000}, {4, 4}), (ImageSize{4, 4000}));
}

TEST(ScaleToCover, HoldsTheCroppedImageInItsMiddle) {
  const torch::Tensor whole = scale_to_cover(rough(20, 30), {8, 8});
  ASSERT_EQ(whole.sizes(), (torch::IntArrayRef{1, 8, 12}));
  EXPECT_TRUE(torch::equal(whole.slice(2, 2, 10), resize_and_crop(rough(20, 30), {8, 8})));
}

TEST(WithChannels, AlphaIsKeptDroppedOrOpaque) {
  const torch::Tensor rgba = torch::arange(64).to(torch::kUInt8).view({4, 4, 4});
  EXPECT_TRUE(torch::equal(with_channels(rgba, 3), rgba.slice(0, 0, 3)));
  EXPECT_TRUE(torch::equal(with_channels(rgba, 2)[1], rgba[3]));
  EXPECT_TRUE(torch::equal(with_channels(rgba, 2)[0], with_channels(rgba, 1)[0]));
  EXPECT_TRUE(
      torch::equal(with_channels(rgba.slice(0, 0, 3), 4).slice(0, 0, 3), rgba.slice(0, 0, 3)));
  const torch::Tensor grey_alpha = rgba.slice(0, 0, 2);
  EXPECT_TRUE(torch::equal(with_channels(grey_alpha, 4)[2], rgba[0]));
  EXPECT_TRUE(torch::equal(with_channels(grey_alpha, 4)[3], rgba[1]));
  EXPECT_TRUE(torch::equal(with_channels(grey_alpha, 3), rgba.slice(0, 0, 1).expand({3, 4, 4})));
  for (const int64_t from : {1, 3}) {
    for (const int64_t to : {2, 4}) {
      const torch::Tensor image = with_channels(rgba.slice(0, 0, from), to);
      EXPECT_EQ(image.size(0), to);
      EXPECT_EQ(image[to - 1].min().item<int>(), 255);
    }
  }
}

TEST(WithChannels, GreyToRgbAndBackIsExact) {
  const torch::Tensor grey = torch::arange(256).to(torch::kUInt8).view({1, 16, 16});
  const torch::Tensor rgb = with_channels(grey, 3);
  EXPECT_EQ(rgb.sizes(), (torch::IntArrayRef{3, 16, 16}));
  EXPECT_TRUE(torch::equal(with_channels(rgb, 1), grey));
}

}  // namespace
}  // namespace ddpm::data
