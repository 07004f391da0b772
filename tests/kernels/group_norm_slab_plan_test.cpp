#include "src/kernels/cuda/group_norm_slab_plan.h"

#include <cstdint>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace ddpm::kernels {
namespace {

constexpr SlabDevice kA100{108, 163 << 10, 164 << 10};
constexpr SlabDevice kH200{132, 227 << 10, 228 << 10};
constexpr SlabDevice kConsumer{170, 99 << 10, 100 << 10};  // sm_120

constexpr SlabElement kFloat32{4, 4, 4}, kBf16{2, 4, 8}, kOdd{2, 4, 1};

GroupNormShape images(int64_t batch, int64_t side, int64_t channels, int64_t groups) {
  return {batch, side * side, channels, groups, side * side, 1e-6, true};
}

TEST(SlabPlan, KeepsItsPromises) {
  int chosen = 0;
  for (const SlabDevice& device : {kA100, kH200, kConsumer}) {
    for (const SlabElement& element : {kFloat32, kBf16, kOdd, SlabElement{8, 8, 2}}) {
      for (const int64_t side : {1, 3, 4, 7, 8, 16, 32, 48, 64, 128, 1024}) {
        for (const int64_t size : {1, 2, 3, 4, 8, 12, 16, 24, 512}) {
          for (const int64_t groups : {1, 2, 6, 32}) {
            for (const int64_t batch : {1, 128, 70000}) {
              const GroupNormShape s = images(batch, side, size * groups, groups);
              if (s.channels % element.vector != 0) continue;
              for (const int32_t kept : {1, 2}) {
                const Slab slab = plan_slab(s, element, kept, device);
                if (slab.groups == 0) continue;
                ++chosen;
                const int64_t bytes = slab.channels * element.size;
                ASSERT_EQ(groups % slab.groups, 0);
                ASSERT_EQ(slab.channels, slab.groups * size);
                ASSERT_EQ(slab.lanes * element.vector, slab.channels);
                ASSERT_GE(slab.rows, 1);
                ASSERT_LE(slab.lanes * slab.rows, slab.threads);
                ASSERT_LE(slab.threads, slab_max_threads(element.vector));
                ASSERT_EQ(slab.threads % 32, 0);
                ASSERT_LE(slab.shared, device.shared_per_block);
                ASSERT_GE(slab.shared, kept * s.pixels * bytes);
                ASSERT_TRUE(bytes >= 32 || slab.groups == groups) << bytes;
                ASSERT_TRUE(size % 16 != 0 || bytes % 32 == 0) << bytes;
              }
            }
          }
        }
      }
    }
  }
  EXPECT_GT(chosen, 1000);
}

// The parts of shared memory follow one another, each aligned for what it holds.
TEST(SlabPlan, SharedMemoryIsAligned) {
  for (const SlabElement& element : {kFloat32, kBf16, kOdd}) {
    const GroupNormShape s = images(1, 5, 48, 16);
    const Slab slab = make_slab(s, element, 2, 8, 256, 232448);
    ASSERT_GT(slab.groups, 0);
    const SlabOffsets at(slab, 25, 2, element.size, element.sum_size);
    EXPECT_EQ(at.image % 16, 0);
    EXPECT_GE(at.image, 25 * 24 * element.size);
    for (const int32_t doubles : {at.folded, at.partial, at.statistics}) EXPECT_EQ(doubles % 8, 0);
    for (const int32_t sums : {at.rows, at.coefficients, at.parameters}) EXPECT_EQ(sums % 4, 0);
    EXPECT_LE(2 * at.image, at.folded);
    EXPECT_EQ(at.end, slab.shared);
  }
}

// Channels and sides of the cifar10 preset's norms at its batch: whole sectors, two blocks a
// processor or more.
TEST(SlabPlan, CifarIsReadOnce) {
  const std::vector<std::pair<int64_t, int64_t>> layers{{128, 32}, {256, 32}, {384, 32}, {128, 16},
                                                        {256, 16}, {384, 16}, {512, 16}, {256, 8},
                                                        {512, 8},  {256, 4},  {512, 4}};
  for (const auto& [channels, side] : layers) {
    for (const SlabElement& element : {kFloat32, kBf16}) {
      for (const int32_t kept : {1, 2}) {
        const Slab slab = plan_slab(images(128, side, channels, 32), element, kept, kH200);
        ASSERT_GT(slab.groups, 0) << channels << " channels, side " << side;
        EXPECT_GE(slab.channels * element.size, 32) << channels << " channels, side " << side;
        EXPECT_LE(2 * (slab.shared + 1024), kH200.shared_per_processor)
            << channels << " channels, side " << side;
      }
    }
  }
}

TEST(SlabPlan, WhatDoesNotFitIsReadInBlocks) {
  EXPECT_EQ(plan_slab(images(8, 256, 128, 32), kFloat32, 1, kH200).groups, 0);
  EXPECT_EQ(plan_slab(images(128, 64, 128, 32), kFloat32, 2, kH200).groups, 0);
  EXPECT_EQ(plan_slab(images(1, 1, 1030, 1), {4, 4, 1}, 1, kH200).groups, 0);             // lanes
  EXPECT_EQ(plan_slab(images(int64_t{1} << 31, 1, 8, 1), kFloat32, 1, kH200).groups, 0);  // grid
}

}  // namespace
}  // namespace ddpm::kernels
