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

TEST(ImageRange, MapsFloatsAsBytesAndBetweenThem) {
  const torch::Tensor bytes = torch::arange(256).to(torch::kByte);
  const torch::Tensor floats = bytes.to(torch::kFloat);
  for (const auto type : {torch::kFloat, torch::kDouble, torch::kBFloat16})
    EXPECT_TRUE(to_model_range(floats, type).equal(to_model_range(bytes, type)));
  EXPECT_TRUE(floats.equal(bytes.to(torch::kFloat)));  // the pixels are unchanged
  const torch::Tensor x = to_model_range(torch::tensor({0.5F, 63.75F}), torch::kDouble);
  EXPECT_DOUBLE_EQ(x[0].item<double>(), 0.5 / 127.5 - 1);
  EXPECT_DOUBLE_EQ(x[1].item<double>(), -0.5);
}

TEST(ImageRange, RefusesOtherTypes) {
  EXPECT_THROW(to_model_range(torch::zeros({1, 1, 2, 2}, torch::kInt), torch::kFloat), c10::Error);
}

// A file's v is the level v / 257.
TEST(To16Bit, InvertsTheModelRangeForEveryPixelValue) {
  const torch::Tensor values = torch::arange(65536, torch::kInt);
  const torch::Tensor levels = values.to(torch::kDouble).div(257).to(torch::kFloat);
  EXPECT_TRUE(to_16_bit(to_model_range(levels, torch::kFloat)).equal(values));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(to_16_bit(torch::tensor({-7.0F, 7.0F, nan, -1.0F + 1.4F / 32767.5F}))
                  .equal(torch::tensor({0, 65535, 0, 1}, torch::kInt)));
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
