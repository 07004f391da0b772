#include "ddpm/base/shape.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm {
namespace {

TEST(ExpectShape, AcceptsTheSizesAndAnySizeForMinusOne) {
  const torch::Tensor x = torch::zeros({2, 3, 4});
  EXPECT_NO_THROW(expect_shape(x, {2, 3, 4}, "x"));
  EXPECT_NO_THROW(expect_shape(x, {-1, 3, -1}, "x"));
  EXPECT_NO_THROW(expect_shape(torch::zeros({}), {}, "x"));
}

TEST(ExpectShape, RefusesOtherSizesAndNamesBoth) {
  const torch::Tensor x = torch::zeros({2, 3, 4});
  EXPECT_THROW(expect_shape(x, {2, 3}, "x"), c10::Error);
  EXPECT_THROW(expect_shape(x, {2, 3, 4, -1}, "x"), c10::Error);
  try {
    expect_shape(x, {-1, 5, 4}, "labels");
    FAIL();
  } catch (const c10::Error& error) {
    EXPECT_EQ(std::string(error.what_without_backtrace()),
              "labels has shape [2, 3, 4], expected [-1, 5, 4] (-1: any)");
  }
}

}  // namespace
}  // namespace ddpm
