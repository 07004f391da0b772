#include "src/kernels/cuda/group_norm_slab16.h"

#include "tests/kernels/group_norm_cases.h"

#include <vector>

#include <gtest/gtest.h>
#include <torch/types.h>

// The phases of the CUDA kernels for 16-bit images, run by loops over blocks and threads.

namespace ddpm::kernels {
namespace {

template <class T>
class Emulation16 : public GroupNormEmulation<T, float> {
 public:
  using GroupNormEmulation<T, float>::GroupNormEmulation;

  void forward(const Slab16& slab, bool backwards) {
    with_held(slab,
              [&](auto n, auto full) { pass<Slab16Forward<T, n(), full()>>(slab, backwards); });
  }
  void backward(const Slab16& slab, bool backwards) {
    with_held(slab,
              [&](auto n, auto full) { pass<Slab16Backward<T, n(), full()>>(slab, backwards); });
  }

 private:
  template <class Thread>
  void pass(const Slab16& slab, bool backwards) const {
    const GroupNormShape s = this->shape();
    const GroupNormArgs<float> a = this->args();
    const GroupNormImages m = this->images();
    this->template run<Thread>(s.batch * (s.groups / slab.groups), slab.threads,
                               slab16_shared(slab), backwards, [&](int64_t b, int t, void* shared) {
                                 return Thread(s, a, slab, m, static_cast<uint32_t>(b), t,
                                               static_cast<float*>(shared));
                               });
  }
};

template <class T>
void expect_close_16(const GroupNormCase& c, double image, double sums) {
  if (c.shape[1] % kSlab16Vector != 0 || c.skip % kSlab16Vector != 0) return;
  using Kernel = Emulation16<T>;
  const GroupNormInputs in = inputs_of(c, Kernel::kImage, torch::kFloat);
  const std::vector<torch::Tensor> exact = wanted(c, in).all();
  int count = 0;
  for (int64_t groups = 1; groups <= c.groups; ++groups) {
    for (const int32_t threads : {32, 64, 256, 384, 512}) {
      Kernel kernel(c, in), again(c, in);
      if (c.groups % groups != 0) continue;
      const Slab16 slab = make_slab16(kernel.shape(), groups, threads);
      if (slab.groups == 0) continue;
      kernel.forward(slab, false), again.forward(slab, true);
      kernel.backward(slab, false), again.backward(slab, true);
      const auto ours = kernel.results().all(), other = again.results().all();
      for (size_t i = 0; i < exact.size(); ++i) {
        const bool mean = i + 2 >= exact.size();  // near 0 it has x's digits, no more
        EXPECT_LT(difference(ours[i], exact[i], mean ? c.spread : c.least()), i < 2 ? image : sums)
            << "result " << i << ", " << groups << " groups, " << threads << " threads";
        EXPECT_TRUE(ours[i].equal(other[i])) << "result " << i << " depends on the order";
      }
      ++count;
    }
  }
  EXPECT_GT(count, 0);
}

class GroupNormSlab16 : public testing::TestWithParam<GroupNormCase> {};

// y and dx are rounded to 2^-9 (bfloat16) and 2^-12 (float16), twice with an addend; the sums are
// float32 of up to 1e3 numbers, whose mean costs three digits where it is 1000 deviations away.
TEST_P(GroupNormSlab16, OnlyTheResultsAreRounded) {
  const GroupNormCase c = GetParam();
  const double sums = c.offset > 0 ? 1e-3 : 2e-5;
  expect_close_16<at::BFloat16>(c, (c.addend ? 2.0 : 1.0) / 256, sums);
  if (c.spread > 1e4 || c.spread < 1e-4) return;  // outside of float16's range
  expect_close_16<at::Half>(c, (c.addend ? 2.0 : 1.0) / 1024, sums);
}

INSTANTIATE_TEST_SUITE_P(All, GroupNormSlab16, testing::ValuesIn(group_norm_cases()),
                         [](const auto& info) { return info.param.name; });

TEST(Slab16Plan, KeepsItsPromises) {
  int chosen = 0;
  for (const int64_t side : {1, 3, 4, 7, 8, 16, 32, 48, 64}) {
    for (const int64_t size : {1, 2, 3, 4, 8, 12, 16, 24, 512}) {
      for (const int64_t groups : {1, 2, 6, 32}) {
        for (const int64_t batch : {1, 128, 70000}) {
          const GroupNormShape s{batch,       side * side, size * groups, groups,
                                 side * side, 1e-6,        true};
          for (const int32_t images : {1, 2}) {
            const Slab16 slab = plan_slab16(s, images, 132);
            if (slab.groups == 0) continue;
            ++chosen;
            ASSERT_EQ(groups % slab.groups, 0);
            ASSERT_EQ(slab.channels, slab.groups * size);
            ASSERT_EQ(slab.lanes * kSlab16Vector, slab.channels);
            ASSERT_LE(slab.lanes * slab.rows, slab.threads);
            ASSERT_LE(slab.threads, slab16_max_threads(slab.held));
            ASSERT_EQ(slab.threads % 32, 0);
            ASSERT_GE(int64_t{slab.held} * slab.rows, s.pixels);
            ASSERT_LE(slab16_shared(slab), 48 << 10);
            ASSERT_TRUE(slab.channels >= 16 || slab.groups == groups);
            ASSERT_TRUE(slab.channels <= 64 || slab.groups == 1 || slab.threads > 256);
          }
        }
      }
    }
  }
  EXPECT_GT(chosen, 300);
}

// The norms of the cifar10 preset.
TEST(Slab16Plan, CifarFits) {
  for (const int64_t side : {4, 8, 16, 32}) {
    for (const int64_t channels : {128, 256, 384, 512}) {
      const GroupNormShape s{128, side * side, channels, 32, side * side, 1e-6, true};
      const bool wide_groups = channels == 384 || channels == 512;
      if (side == 32 && wide_groups) continue;  // 24 and 16 channels at least
      for (const int32_t images : {1, 2}) {
        const Slab16 slab = plan_slab16(s, images, 132);
        EXPECT_GT(slab.groups, 0) << channels << " at " << side;
        EXPECT_EQ(slab.full, channels != 384) << channels << " at " << side;
      }
    }
  }
}

}  // namespace
}  // namespace ddpm::kernels
