#include "ddpm/diffusion/image_range.h"

#include <limits>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::diffusion {
namespace {

TEST(ImageRange, MapsBytesToMinusOneToOne) {
  const torch::Tensor bytes = torch::tensor({0, 51, 255}, torch::kByte).view({1, 1, 1, 3});
  const torch::Tensor x = to_model_range(bytes, torch::kDouble);
  EXPECT_DOUBLE_EQ(x[0][0][0][0].item<double>(), -1.0);
  EXPECT_DOUBLE_EQ(x[0][0][0][1].item<double>(), -0.6);
  EXPECT_DOUBLE_EQ(x[0][0][0][2].item<double>(), 1.0);
  EXPECT_EQ(bytes[0][0][0][1].item<int>(), 51);  // the pixels are unchanged
}

TEST(ImageRange, RefusesImagesThatAreNotBytes) {
  EXPECT_THROW(to_model_range(torch::zeros({1, 1, 2, 2}), torch::kFloat), c10::Error);
}

TEST(ToUint8, InvertsTheModelRangeForEveryPixelValue) {
  const torch::Tensor pixels = torch::arange(256).to(torch::kUInt8);
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    EXPECT_TRUE(torch::equal(to_uint8(pixels.to(type) / 127.5 - 1), pixels));
  }
}

TEST(ToUint8, RoundsToNearestAndClamps) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const torch::Tensor x =
      torch::tensor({-1.0f, 1.0f, -7.0f, 7.0f, 1.49f / 127.5f - 1, 1.51f / 127.5f - 1, nan});
  EXPECT_TRUE(torch::equal(to_uint8(x), torch::tensor({0, 255, 0, 255, 1, 2, 0}, torch::kUInt8)));
  EXPECT_EQ(to_uint8(torch::zeros({2, 3, 4, 5}, torch::kBFloat16)).sizes(),
            (torch::IntArrayRef{2, 3, 4, 5}));
}

}  // namespace
}  // namespace ddpm::diffusion
