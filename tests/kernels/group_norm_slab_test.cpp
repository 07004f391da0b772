#include "src/kernels/cuda/group_norm_slab.h"

#include "src/kernels/cpu/group_norm.h"
#include "tests/kernels/group_norm_cases.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>

// The CUDA kernels' phases run here by a loop over blocks and threads. Shared memory begins as NaNs
// and threads run forwards or backwards: what is read too early, or depends on their order, shows.

namespace ddpm::kernels::group_norm_slab_test {
namespace {

using Case = GroupNormCase;
using Inputs = GroupNormInputs;
using Results = GroupNormResults;

template <class T, class A, int V>
class Emulation : public GroupNormEmulation<T, A> {
  using Base = GroupNormEmulation<T, A>;

 public:
  static constexpr SlabElement kElement{sizeof(T), sizeof(A), V};
  using Base::Base;

  void forward(const Slab& slab, bool backwards) { pass<SlabForward<T, A, V>>(slab, backwards); }
  void backward(const Slab& slab, bool backwards) { pass<SlabBackward<T, A, V>>(slab, backwards); }

 private:
  template <class Thread>
  void pass(const Slab& slab, bool backwards) const {
    const GroupNormShape s = this->shape();
    const GroupNormArgs<A> a = this->args();
    const GroupNormImages m = this->images();
    this->template run<Thread>(s.batch * (s.groups / slab.groups), slab.threads, slab.shared,
                               backwards, [&](int64_t b, int t, void* shared) {
                                 return Thread(s, a, slab, m, b, t,
                                               static_cast<unsigned char*>(shared));
                               });
  }
};

// Every slab of a case at several numbers of threads, against `wanted`; y and dx within `image`,
// the rest within `sums`. Vectors that do not divide the channels are passed over.
template <class T, class A, int V>
void expect_close(const Case& c, double image, double sums) {
  using Kernel = Emulation<T, A, V>;
  if (c.shape[1] % V != 0 || c.skip % V != 0) return;
  const Inputs in = inputs_of(c, Kernel::kImage, Kernel::kSum);
  const std::vector<torch::Tensor> exact = wanted(c, in).all();
  int count = 0;
  for (int64_t groups = 1; groups <= c.groups; ++groups) {
    for (const int32_t threads : {32, 96, 256, 512}) {
      if (c.groups % groups != 0 || threads > slab_max_threads(V)) continue;
      Kernel kernel(c, in), again(c, in);
      const auto slab = [&](int32_t images) {
        return make_slab(kernel.shape(), Kernel::kElement, images, groups, threads, 232448);
      };
      if (slab(1).groups == 0 || slab(2).groups == 0) continue;
      kernel.forward(slab(1), false), again.forward(slab(1), true);
      kernel.backward(slab(2), false), again.backward(slab(2), true);
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

class GroupNormSlab : public testing::TestWithParam<Case> {};

// Bounds as in group_norm_test.cpp: 1e4 terms rounded to 1e-16; a mean of 1000 deviations costs
// three digits, ATen's included.
TEST_P(GroupNormSlab, EqualsAtenInFloat64) {
  const Case c = GetParam();
  const double bound = c.offset > 0 ? 1e-9 : 1e-10;
  expect_close<double, double, 1>(c, bound, bound);
  expect_close<double, double, 2>(c, bound, bound);
}

TEST_P(GroupNormSlab, InFloat32IsAsCloseAsRoundingAllows) {
  const Case c = GetParam();
  const double bound = c.offset > 0 ? 2e-4 : 4e-6;
  expect_close<float, float, 1>(c, bound, bound);
  expect_close<float, float, 4>(c, bound, bound);
}

// y and dx are rounded to 2^-9 (bfloat16) and 2^-12 (float16), the rest is float32.
TEST_P(GroupNormSlab, In16BitsOnlyTheResultsAreRounded) {
  const Case c = GetParam();
  const double sums = c.offset > 0 ? 2e-4 : 1e-5;
  expect_close<at::BFloat16, float, 1>(c, 1.0 / 256, sums);
  expect_close<at::BFloat16, float, 8>(c, 1.0 / 256, sums);
  if (c.spread > 1e4 || c.spread < 1e-4) return;  // outside of float16's range
  expect_close<at::Half, float, 1>(c, 1.0 / 2048, sums);
  expect_close<at::Half, float, 8>(c, 1.0 / 2048, sums);
}

INSTANTIATE_TEST_SUITE_P(All, GroupNormSlab, testing::ValuesIn(group_norm_cases()),
                         [](const auto& info) { return info.param.name; });

// The backward pass may be done by blocks (or the CPU), the forward pass by slabs, or the other way
// round.
TEST(GroupNormSlabAndBlocks, AreInterchangeable) {
  const Case c{"", {2, 32, 9, 7}, 8, true, true, true, true};
  using Kernel = Emulation<float, float, 4>;
  const Inputs in = inputs_of(c, torch::kFloat, torch::kFloat);
  Kernel kernel(c, in), blocks(c, in);
  GroupNormShape shape = kernel.shape();
  shape.block = 10;
  const torch::Tensor partial = torch::empty({2, shape.blocks(), 32, 2}, torch::kDouble);
  const torch::Tensor coefficients = torch::empty({2, 5, 32});
  const auto with_buffers = [&](GroupNormArgs<float> a) {
    a.partial = partial.data_ptr<double>();
    a.coefficients = coefficients.data_ptr<float>();
    return a;
  };
  const auto slab = [&](int32_t images) {
    return make_slab(shape, Kernel::kElement, images, 2, 256, 232448);
  };
  const auto at = [](const torch::Tensor& t) { return t.data_ptr<float>(); };
  const Results others = blocks.results();
  kernel.forward(slab(1), false);
  cpu::group_norm_backward(shape, Element::kFloat, at(in.x), at(in.dy), at(kernel.dx()),
                           with_buffers(kernel.args()));
  cpu::group_norm_forward(shape, Element::kFloat, at(in.x), at(others.y),
                          with_buffers(blocks.args()));
  blocks.backward(slab(2), false);
  const auto a = kernel.results().all(), b = blocks.results().all(), exact = wanted(c, in).all();
  for (size_t i = 0; i < exact.size(); ++i) {
    const double least = i + 2 >= exact.size() ? c.spread : 1e-300;
    EXPECT_LT(difference(a[i], exact[i], least), 4e-6) << "result " << i;
    EXPECT_LT(difference(b[i], exact[i], least), 4e-6) << "result " << i;
  }
}

TEST(GroupNormSlabInputs, OneBadNumberIsSeenInItsGroupAlone) {
  const Case c{"", {1, 32, 4, 4}, 4, false, false, false, true};
  for (const double bad : {std::nan(""), HUGE_VAL}) {
    Inputs in = inputs_of(c, torch::kFloat, torch::kFloat);
    in.x[0][9][2][2] = bad;
    Emulation<float, float, 4> kernel(c, in);
    kernel.forward(make_slab(kernel.shape(), {4, 4, 4}, 1, 2, 64, 232448), false);
    const torch::Tensor y = kernel.results().y;
    EXPECT_TRUE(y.slice(1, 8, 16).isnan().all().item<bool>());
    EXPECT_TRUE(y.slice(1, 0, 8).isfinite().all().item<bool>());
    EXPECT_TRUE(y.slice(1, 16).isfinite().all().item<bool>());
  }
}

// 1 - p of the numbers are kept, scaled so that the mean stays, and neighbours are independent.
TEST(Dropout, KeepsWhatItSaysAndTheMean) {
  const int64_t n = 1 << 20;
  for (const double p : {0.1, 0.5}) {
    const torch::Tensor factors = dropout_factors({"", {1, 1, 1, n}, 1, 0, 0, 0, 0, 1, 0, 0, p});
    const torch::Tensor kept = factors.gt(0).to(torch::kDouble).flatten();
    const double sigma = std::sqrt(p * (1 - p) / static_cast<double>(n));
    EXPECT_NEAR(kept.mean().item<double>(), 1 - p, 5 * sigma);
    EXPECT_NEAR(factors.max().item<double>(), 1 / (1 - p), 2e-5);
    for (const int64_t lag : {1, 2, 4, 8}) {
      const double both = (kept.slice(0, lag) * kept.slice(0, 0, n - lag)).mean().item<double>();
      EXPECT_NEAR(both, (1 - p) * (1 - p), 6 * sigma) << lag;
    }
  }
}

TEST(Dropout, IsTheSameInVectorsOfAnyWidth) {
  const Dropout dropout = dropout_of(0.4, &kDropoutKey);
  const RngKey key = dropout_key(dropout);
  for (int64_t at = 0; at < 64; at += 8) {
    double eight[8], four[4], one[1];
    for (double& v : eight) v = 1;
    drop(eight, dropout, key, at);
    for (int i = 0; i < 8; ++i) {
      if (i % 4 == 0) {
        for (double& v : four) v = 1;
        drop(four, dropout, key, at + i);
      }
      one[0] = 1;
      drop(one, dropout, key, at + i);
      EXPECT_EQ(one[0], eight[i]);
      EXPECT_EQ(four[i % 4], eight[i]);
    }
  }
}

class KernelsOnGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device on this machine";
  }
};
using GroupNormSlabGpu = KernelsOnGpu;
using GroupNormBlocksGpu = KernelsOnGpu;

// y, then the gradients, in the order of Results.
std::vector<torch::Tensor> on(torch::Device device, const Case& c, const Inputs& in) {
  std::vector<torch::Tensor> leaves, results;
  for (const torch::Tensor& t : {in.x, in.weight, in.bias, in.add, in.scale, in.shift})
    leaves.push_back(t.to(device).detach().clone().requires_grad_());
  const torch::Tensor y = group_norm_silu(leaves[0], leaves[1], leaves[2], c.groups, kEps,
                                          {leaves[3], leaves[4], leaves[5]});
  y.backward(in.dy.to(device));
  results.push_back(y.detach().cpu());
  for (const torch::Tensor& t : leaves) results.push_back(t.grad().cpu());
  return results;
}

// A size of the cifar10 preset, and one whose slabs share sectors.
TEST_F(GroupNormSlabGpu, In16BitsOnlyTheResultsAreRounded) {
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{4, 128, 32, 32}, {3, 96, 31, 33}}) {
    const Case c{"", shape, 32, true, true, true, true};
    for (const auto& [type, image] :
         {std::pair{torch::kBFloat16, 1.0 / 256}, {torch::kHalf, 1.0 / 2048}}) {
      const Inputs in = inputs_of(c, type, torch::kFloat);
      const auto ours = on(torch::kCUDA, c, in), exact = wanted(c, in).all();
      for (size_t i = 0; i < ours.size(); ++i) {
        EXPECT_LT(difference(ours[i], exact[i], 1e-300), i < 2 ? image : 1e-5)
            << "result " << i << " in " << type;
      }
    }
  }
}

// An image too large for slabs, which those of group_norm_test.cpp are not.
TEST_F(GroupNormBlocksGpu, EqualTheCpus) {
  const Case c{"", {2, 64, 130, 131}, 16, true, true, true, true};
  for (const auto& [type, bound] : {std::pair{torch::kDouble, 1e-10}, {torch::kFloat, 8e-6}}) {
    const Inputs in = inputs_of(c, type, type);
    const auto host = on(torch::kCPU, c, in), device = on(torch::kCUDA, c, in);
    for (size_t i = 0; i < host.size(); ++i) {
      EXPECT_LT(difference(device[i], host[i], 1e-300), bound) << "result " << i;
    }
  }
}

}  // namespace
}  // namespace ddpm::kernels::group_norm_slab_test
