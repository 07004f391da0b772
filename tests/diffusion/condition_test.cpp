#include "ddpm/diffusion/condition.h"

#include "ddpm/diffusion/image_range.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::diffusion {
namespace {

constexpr ConditionConfig kSmaller{.kind = ConditionKind::kDownsample, .factor = 2};
constexpr ConditionConfig kColourless{.kind = ConditionKind::kGrey};

torch::Tensor pixels(int64_t channels, int64_t height, int64_t width) {
  const int64_t count = 2 * channels * height * width;
  return ((torch::arange(count) * 37) % 256).view({2, channels, height, width}).to(torch::kByte);
}

torch::Tensor images(const torch::Tensor& levels) { return to_model_range(levels, torch::kFloat); }

TEST(Condition, HasTheShapeOfItsPicture) {
  const auto shape = [](const ConditionConfig& c) { return condition_shape(c, 3, 8, 6); };
  EXPECT_EQ(shape(kSmaller), (std::array<int64_t, 3>{3, 4, 3}));
  EXPECT_EQ(shape(kColourless), (std::array<int64_t, 3>{1, 8, 6}));
  EXPECT_EQ(condition_channels({}, 3), 0);
  EXPECT_EQ(condition_channels(kSmaller, 3), 3);
  EXPECT_EQ(condition_channels(kColourless, 3), 1);
}

TEST(Condition, OfASmallerPictureIsTheMeanOfEachBlock) {
  const torch::Tensor levels = pixels(3, 4, 6);
  const torch::Tensor picture = condition_picture(kSmaller, images(levels));
  ASSERT_EQ(picture.sizes(), (torch::IntArrayRef{2, 3, 2, 3}));
  const torch::Tensor x = levels.to(torch::kDouble);
  for (int64_t y = 0; y < 2; ++y)
    for (int64_t column = 0; column < 3; ++column) {
      const torch::Tensor mean =
          x.slice(2, 2 * y, 2 * y + 2).slice(3, 2 * column, 2 * column + 2).mean({2, 3});
      const torch::Tensor found = picture.select(2, y).select(2, column).to(torch::kDouble);
      EXPECT_LE((found - mean).abs().max().item<double>(), 0.5 + 1e-4) << "rounded to a level";
    }
}

TEST(Condition, OfGreyIsTheLumaOfBt601) {
  torch::Tensor levels = torch::zeros({1, 3, 1, 3}, torch::kByte);
  for (int64_t c = 0; c < 3; ++c) levels[0][c][0][c] = 255;  // red, green, blue
  const torch::Tensor picture = condition_picture(kColourless, images(levels));
  // 0.299, 0.587 and 0.114 of 255.
  EXPECT_TRUE(picture.equal(torch::tensor({76, 150, 29}, torch::kByte).view({1, 1, 1, 3})));
}

// A file that another program made by the same degradation gives the network what training gave it.
TEST(Condition, HoldsNoMoreThanAFileDoes) {
  const torch::Tensor picture = condition_picture(kSmaller, images(pixels(3, 4, 4)));
  EXPECT_EQ(picture.scalar_type(), torch::kByte);
  const torch::Tensor same =
      condition_picture(kSmaller, images(picture.repeat_interleave(2, 2).repeat_interleave(2, 3)));
  EXPECT_TRUE(same.equal(picture)) << "blocks of one level keep it";
}

// Keys 1981, Eq. 4 with a = -0.75.
double cubic(double x) {
  constexpr double a = -0.75;
  x = std::abs(x);
  if (x <= 1) return (a + 2) * x * x * x - (a + 3) * x * x + 1;
  return x < 2 ? a * x * x * x - 5 * a * x * x + 8 * a * x - 4 * a : 0.0;
}

TEST(Condition, IsEnlargedByCubicConvolution) {
  const torch::Tensor picture = pixels(1, 3, 4);
  const torch::Tensor found = condition_input(picture, 12, 16, torch::kDouble);
  ASSERT_EQ(found.sizes(), (torch::IntArrayRef{2, 1, 12, 16}));
  const auto at = [&](int64_t n, int64_t y, int64_t x) {
    return picture[n][0][std::clamp<int64_t>(y, 0, 2)][std::clamp<int64_t>(x, 0, 3)]
                   .item<double>() /
               127.5 -
           1;
  };
  for (int64_t n = 0; n < 2; ++n)
    for (int64_t y = 0; y < 12; ++y)
      for (int64_t x = 0; x < 16; ++x) {
        // The centre of pixel i lies at (i + 1/2) / 4 - 1/2 of the smaller picture.
        const double v = (static_cast<double>(y) + 0.5) / 4 - 0.5;
        const double u = (static_cast<double>(x) + 0.5) / 4 - 0.5;
        double sum = 0;
        for (auto i = static_cast<int64_t>(std::floor(v)) - 1; i <= std::floor(v) + 2; ++i)
          for (auto j = static_cast<int64_t>(std::floor(u)) - 1; j <= std::floor(u) + 2; ++j)
            sum +=
                at(n, i, j) * cubic(v - static_cast<double>(i)) * cubic(u - static_cast<double>(j));
        EXPECT_NEAR(found[n][0][y][x].item<double>(), sum, 1e-12) << n << " " << y << " " << x;
      }
}

TEST(Condition, OfTheImagesSizeIsReadAsItIs) {
  const torch::Tensor picture = pixels(1, 4, 4);
  EXPECT_TRUE(condition_input(picture, 4, 4, torch::kFloat).equal(images(picture)));
  const torch::Tensor shown = condition_image(picture, 3, 4, 4);
  EXPECT_TRUE(shown.equal(picture.expand({2, 3, 4, 4})));
}

}  // namespace
}  // namespace ddpm::diffusion
