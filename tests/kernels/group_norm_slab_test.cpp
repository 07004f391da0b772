#include "src/kernels/cuda/group_norm_slab.h"

#include "ddpm/kernels/group_norm.h"
#include "src/kernels/cpu/group_norm.h"
#include "tests/base/test_purpose.h"
#include "tests/kernels/normal.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>

// The CUDA kernels' phases run here by a loop over blocks and threads. Shared memory begins as NaNs
// and threads run forwards or backwards: what is read too early, or depends on their order, shows.

namespace ddpm::kernels {
namespace {

const RngKey kKey = rng_key(2018, kTestPurpose);
constexpr auto kLast = torch::MemoryFormat::ChannelsLast;
constexpr double kEps = 1e-6;

torch::Tensor normal(at::IntArrayRef shape, int64_t id) {
  return normal_row(kKey, shape, id, torch::kDouble);
}

struct Case {
  std::string name;
  std::vector<int64_t> shape;
  int64_t groups;
  bool add, scale, shift, silu;
  double spread = 1.0, offset = 0.0;  // of x

  // With a group a channel nothing depends on what is added to it: that gradient is 0.
  double least() const { return groups == shape[1] ? 1.0 : 1e-300; }
};

std::vector<Case> cases() {
  return {{"plain", {2, 8, 4, 4}, 4, false, false, false, false},
          {"silu", {2, 16, 4, 4}, 4, false, false, false, true},
          {"time_added", {3, 32, 8, 8}, 8, true, false, false, true},
          {"scaled", {2, 32, 8, 8}, 8, false, true, false, true},
          {"shifted", {2, 32, 8, 8}, 8, false, false, true, false},
          {"everything", {2, 24, 5, 7}, 3, true, true, true, true},
          {"odd_channels", {2, 15, 3, 5}, 5, true, false, false, true},
          {"one_group", {2, 21, 6, 6}, 1, true, false, false, true},
          {"a_group_a_channel", {2, 16, 6, 6}, 16, true, true, true, true},
          {"groups_of_twelve", {1, 96, 9, 7}, 8, true, true, true, true},
          {"one_pixel", {3, 24, 1, 1}, 3, true, false, false, true},
          {"many_pixels", {1, 16, 31, 33}, 4, true, false, false, true},
          {"huge", {2, 16, 6, 6}, 4, true, false, false, true, 1e6},
          {"tiny", {2, 16, 6, 6}, 4, true, false, false, true, 1e-9},
          {"far_from_zero", {2, 16, 9, 9}, 4, false, false, false, true, 1.0, 1000.0}};
}

/// A case's tensors: images of T, the rest of A.
struct Inputs {
  torch::Tensor x, weight, bias, add, scale, shift, dy;
};

Inputs inputs_of(const Case& c, torch::Dtype image, torch::Dtype sum) {
  const int64_t batch = c.shape[0], channels = c.shape[1];
  Inputs in;
  in.x = (normal(c.shape, 0) * c.spread + c.offset).to(image).contiguous(kLast);
  in.weight = (normal({channels}, 1) * 0.5 + 1).to(sum);
  in.bias = normal({channels}, 2).to(sum);
  if (c.add) in.add = (normal({batch, channels}, 3) * c.spread).to(sum);
  if (c.scale) in.scale = (normal({batch, channels}, 4) * 0.3).to(sum);
  if (c.shift) in.shift = normal({batch, channels}, 5).to(sum);
  in.dy = normal(c.shape, 6).to(image).contiguous(kLast);
  return in;
}

/// What the kernels set.
struct Results {
  torch::Tensor y, dx, mean, rstd, channel_mean;
  torch::Tensor d_weight, d_bias, d_add, d_scale, d_shift;

  std::vector<torch::Tensor> all() const {
    std::vector<torch::Tensor> defined;
    for (const torch::Tensor& t :
         {y, dx, d_weight, d_bias, d_add, d_scale, d_shift, rstd, mean, channel_mean}) {
      if (t.defined()) defined.push_back(t);
    }
    return defined;
  }
};

/// ATen's in float64, of the inputs as they were rounded.
Results wanted(const Case& c, const Inputs& in) {
  const auto leaf = [](const torch::Tensor& t) {
    return t.defined() ? t.to(torch::kDouble).detach().clone().requires_grad_() : t;
  };
  const Modulation m{leaf(in.add), leaf(in.scale), leaf(in.shift)};
  const torch::Tensor x = leaf(in.x), weight = leaf(in.weight), bias = leaf(in.bias);
  const torch::Tensor y = composed_group_norm(x, weight, bias, c.groups, kEps, m, c.silu);
  y.backward(in.dy.to(torch::kDouble));
  const auto grad = [](const torch::Tensor& t) { return t.defined() ? t.grad() : t; };
  const torch::NoGradGuard no_grad;
  const torch::Tensor h = m.add.defined() ? x + m.add.unsqueeze(-1).unsqueeze(-1) : x;
  const torch::Tensor grouped = h.contiguous().view({c.shape[0], c.groups, -1});
  return {y.detach(),      x.grad(),
          grouped.mean(2), 1 / (grouped.var(2, /*unbiased=*/false) + kEps).sqrt(),
          x.mean({2, 3}),  weight.grad(),
          bias.grad(),     grad(m.add),
          grad(m.scale),   grad(m.shift)};
}

template <class T, class A, int V>
class Emulation {
 public:
  static constexpr torch::Dtype kImage = c10::CppTypeToScalarType<T>::value;
  static constexpr torch::Dtype kSum = c10::CppTypeToScalarType<A>::value;
  static constexpr SlabElement kElement{sizeof(T), sizeof(A), V};

  Emulation(const Case& c, Inputs in) : case_(c), in_(std::move(in)) {
    const int64_t batch = c.shape[0], channels = c.shape[1];
    const auto of = [&](torch::Dtype type, int64_t n) {
      return torch::full({batch, n}, std::nan(""), type);
    };
    out_.y = torch::full_like(in_.x, std::nan(""));
    out_.dx = torch::full_like(in_.x, std::nan(""));
    out_.mean = of(torch::kDouble, c.groups);
    out_.rstd = of(torch::kDouble, c.groups);
    out_.channel_mean = of(torch::kDouble, channels);
    out_.d_weight = of(kSum, channels);
    out_.d_bias = of(kSum, channels);
    if (c.add) out_.d_add = of(kSum, channels);
    if (c.scale) out_.d_scale = of(kSum, channels);
    if (c.shift) out_.d_shift = of(kSum, channels);
  }

  GroupNormShape shape() const {
    const int64_t pixels = case_.shape[2] * case_.shape[3];
    return {case_.shape[0], pixels, case_.shape[1], case_.groups, pixels, kEps, case_.silu};
  }
  GroupNormArgs<A> args() const {
    const auto at = [](const torch::Tensor& t) {
      return t.defined() ? t.template data_ptr<A>() : nullptr;
    };
    return {at(in_.weight),
            at(in_.bias),
            at(in_.add),
            at(in_.scale),
            at(in_.shift),
            out_.mean.template data_ptr<double>(),
            out_.rstd.template data_ptr<double>(),
            out_.channel_mean.template data_ptr<double>(),
            nullptr,
            nullptr,
            at(out_.d_weight),
            at(out_.d_bias),
            at(out_.d_add),
            at(out_.d_scale),
            at(out_.d_shift)};
  }

  void forward(const Slab& slab, bool backwards) {
    const GroupNormArgs<A> a = args();
    run<SlabForward<T, A, V>>(slab, backwards, [&](int64_t b, int t, unsigned char* shared) {
      return SlabForward<T, A, V>(shape(), a, slab, data(in_.x), data(out_.y), b, t, shared);
    });
  }
  void backward(const Slab& slab, bool backwards) {
    const GroupNormArgs<A> a = args();
    run<SlabBackward<T, A, V>>(slab, backwards, [&](int64_t b, int t, unsigned char* shared) {
      return SlabBackward<T, A, V>(shape(), a, slab, data(in_.x), data(in_.dy), data(out_.dx), b, t,
                                   shared);
    });
  }

  /// d_weight and d_bias summed over the images, as the caller does.
  Results results() const {
    Results r = out_;
    r.d_weight = r.d_weight.sum(0);
    r.d_bias = r.d_bias.sum(0);
    return r;
  }

 private:
  static T* data(const torch::Tensor& t) { return t.data_ptr<T>(); }

  template <class Thread, class Make>
  void run(const Slab& slab, bool backwards, const Make& make) const {
    std::vector<int> order(slab.threads);
    std::iota(order.begin(), order.end(), 0);
    if (backwards) std::reverse(order.begin(), order.end());
    std::vector<std::max_align_t> shared(slab.shared / sizeof(std::max_align_t) + 1);
    for (int64_t block = 0; block < case_.shape[0] * (case_.groups / slab.groups); ++block) {
      std::memset(shared.data(), 0xFF, shared.size() * sizeof(shared[0]));
      std::vector<Thread> threads;
      for (int t = 0; t < slab.threads; ++t) {
        threads.push_back(make(block, t, reinterpret_cast<unsigned char*>(shared.data())));
      }
      for (int i = 0; i < Thread::kPhases; ++i) {
        for (const int t : order) threads[t].phase(i);
      }
    }
  }

  Case case_;
  Inputs in_;
  Results out_;
};

// The largest difference, against the largest value, or `least` where that is more.
double difference(const torch::Tensor& a, const torch::Tensor& b, double least) {
  const torch::Tensor x = a.to(torch::kDouble), y = b.to(torch::kDouble);
  return (x - y).abs().max().item<double>() / std::max(y.abs().max().item<double>(), least);
}

// Every slab of a case at several numbers of threads, against `wanted`; y and dx within `image`,
// the rest within `sums`. Vectors that do not divide the channels are passed over.
template <class T, class A, int V>
void expect_close(const Case& c, double image, double sums) {
  using Kernel = Emulation<T, A, V>;
  if (c.shape[1] % V != 0) return;
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

INSTANTIATE_TEST_SUITE_P(All, GroupNormSlab, testing::ValuesIn(cases()),
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
  Results ours = kernel.results(), others = blocks.results();
  kernel.forward(slab(1), false);
  cpu::group_norm_backward(shape, Element::kFloat, at(in.x), at(in.dy), at(ours.dx),
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
}  // namespace ddpm::kernels
