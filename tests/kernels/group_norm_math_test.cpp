#include "src/kernels/group_norm_math.h"

#include "tests/base/test_purpose.h"
#include "tests/kernels/normal.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::kernels::group_norm_math_test {
namespace {

const RngKey kKey = rng_key(2018, kTestPurpose);

torch::Tensor normal(at::IntArrayRef shape, int64_t id) {
  return normal_row(kKey, shape, id, torch::kDouble);
}

double max_difference(const torch::Tensor& a, const torch::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

// Blocks' moments are pooled by the CUDA kernels and merged by the CPU's: the same statistics.
TEST(GroupNormPooling, EqualsMerging) {
  for (const double offset : {0.0, 1e6}) {
    const GroupNormShape s{2, 25, 6, 2, 4, 1e-6, false};  // 7 blocks, the last of one pixel
    torch::Tensor partial = normal({2, s.blocks(), 6, 2}, 0);
    partial.select(3, 0) += offset;
    partial.select(3, 1).abs_();
    const torch::Tensor add = normal({2, 6}, 1);
    torch::Tensor other = partial.clone();
    torch::Tensor mean = torch::empty({2, 6}, torch::kDouble), other_mean = mean.clone();
    GroupNormArgs<double> a{}, b{};
    a.add = b.add = add.data_ptr<double>();
    a.partial = partial.data_ptr<double>(), b.partial = other.data_ptr<double>();
    a.channel_mean = mean.data_ptr<double>(), b.channel_mean = other_mean.data_ptr<double>();
    for (int64_t i = 0; i < 12; ++i) {
      merge_moments(s, a, i / 6, i % 6);
      pool_moments(s, b, i / 6, i % 6);
    }
    EXPECT_LT(max_difference(other, partial), 1e-14);
    EXPECT_LT(max_difference(other_mean, mean), 1e-15);
    for (int64_t i = 0; i < 4; ++i) {
      const GroupStatistics one = group_statistics(s, a, i / 2, i % 2);
      const GroupStatistics two = pooled_statistics(s, b, i / 2, i % 2);
      EXPECT_NEAR(two.mean, one.mean, 1e-15 * (1 + offset));
      EXPECT_NEAR(two.rstd / one.rstd, 1.0, offset > 0 ? 1e-9 : 1e-14);
    }
  }
}

}  // namespace
}  // namespace ddpm::kernels::group_norm_math_test
