#pragma once

#include "ddpm/kernels/residual_block.h"
#include "src/kernels/dropout.h"
#include "src/kernels/group_norm_math.h"
#include "tests/base/test_purpose.h"
#include "tests/kernels/normal.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include <torch/types.h>
#include <torch/utils.h>

// Cases of GroupNorm for the tests of its CUDA kernels, whose phases run on the host.

namespace ddpm::kernels {

inline const RngKey kGroupNormKey = rng_key(2018, kTestPurpose);
inline constexpr auto kLast = torch::MemoryFormat::ChannelsLast;
inline constexpr double kEps = 1e-6;

inline torch::Tensor normal(at::IntArrayRef shape, int64_t id) {
  return normal_row(kGroupNormKey, shape, id, torch::kDouble);
}

struct GroupNormCase {
  std::string name;
  std::vector<int64_t> shape;
  int64_t groups;
  bool add, scale, shift, silu;
  double spread = 1.0, offset = 0.0;  // of x
  int64_t skip = 0;                   // channels of x's second part
  double dropout = 0.0;
  bool addend = false;

  // With a group a channel nothing depends on what is added to it: that gradient is 0.
  double least() const { return groups == shape[1] ? 1.0 : 1e-300; }
};

inline std::vector<GroupNormCase> group_norm_cases() {
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
          {"far_from_zero", {2, 16, 9, 9}, 4, false, false, false, true, 1.0, 1000.0},
          {"dropped", {2, 16, 6, 6}, 4, true, false, false, true, 1.0, 0.0, 0, 0.3},
          {"a_skip", {2, 24, 5, 5}, 3, true, false, false, true, 1.0, 0.0, 8},
          {"a_skip_that_cuts_a_group", {2, 24, 5, 5}, 1, false, false, false, true, 1.0, 0.0, 16},
          {"an_odd_skip", {2, 15, 5, 3}, 5, true, false, false, true, 1.0, 0.0, 4},
          {"an_addend", {2, 16, 6, 6}, 4, false, false, false, true, 1.0, 0.0, 0, 0.0, true},
          {"half_a_block", {2, 48, 7, 9}, 6, true, true, true, true, 1.0, 0.0, 16, 0.1, true}};
}

/// A case's tensors: images of T, the rest of A.
struct GroupNormInputs {
  torch::Tensor x, weight, bias, add, scale, shift, dy, addend;
};

inline constexpr int64_t kDropoutKey = 0x123456789ABCDEF;

/// What dropout multiplies y by, number by number, in the order of memory.
inline torch::Tensor dropout_factors(const GroupNormCase& c) {
  torch::Tensor factors = torch::ones(c.shape, torch::kDouble).contiguous(kLast);
  const Dropout dropout = dropout_of(c.dropout, &kDropoutKey);
  double* p = factors.data_ptr<double>();
  for (int64_t i = 0; c.dropout > 0 && i < factors.numel(); ++i) {
    double one[1] = {1.0};
    drop(one, dropout, dropout_key(dropout), i);
    p[i] = one[0];
  }
  return factors;
}

inline GroupNormInputs inputs_of(const GroupNormCase& c, torch::Dtype image, torch::Dtype sum) {
  const int64_t batch = c.shape[0], channels = c.shape[1];
  GroupNormInputs in;
  in.x = (normal(c.shape, 0) * c.spread + c.offset).to(image).contiguous(kLast);
  in.weight = (normal({channels}, 1) * 0.5 + 1).to(sum);
  in.bias = normal({channels}, 2).to(sum);
  if (c.add) in.add = (normal({batch, channels}, 3) * c.spread).to(sum);
  if (c.scale) in.scale = (normal({batch, channels}, 4) * 0.3).to(sum);
  if (c.shift) in.shift = normal({batch, channels}, 5).to(sum);
  in.dy = normal(c.shape, 6).to(image).contiguous(kLast);
  if (c.addend) in.addend = normal(c.shape, 7).to(image).contiguous(kLast);
  return in;
}

/// What the kernels set.
struct GroupNormResults {
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
inline GroupNormResults wanted(const GroupNormCase& c, const GroupNormInputs& in) {
  const auto leaf = [](const torch::Tensor& t) {
    return t.defined() ? t.to(torch::kDouble).detach().clone().requires_grad_() : t;
  };
  const Modulation m{leaf(in.add), leaf(in.scale), leaf(in.shift)};
  const torch::Tensor x = leaf(in.x), weight = leaf(in.weight), bias = leaf(in.bias);
  const torch::Tensor y =
      composed_group_norm(x, weight, bias, c.groups, kEps, m, c.silu) * dropout_factors(c);
  y.backward(in.dy.to(torch::kDouble));
  const auto grad = [](const torch::Tensor& t) { return t.defined() ? t.grad() : t; };
  const torch::NoGradGuard no_grad;
  const torch::Tensor h = m.add.defined() ? x + m.add.unsqueeze(-1).unsqueeze(-1) : x;
  const torch::Tensor grouped = h.contiguous().view({c.shape[0], c.groups, -1});
  const torch::Tensor dx = in.addend.defined() ? x.grad() + in.addend.to(torch::kDouble) : x.grad();
  return {y.detach(),      dx,
          grouped.mean(2), 1 / (grouped.var(2, /*unbiased=*/false) + kEps).sqrt(),
          x.mean({2, 3}),  weight.grad(),
          bias.grad(),     grad(m.add),
          grad(m.scale),   grad(m.shift)};
}

// The largest difference, against the largest value, or `least` where that is more.
inline double difference(const torch::Tensor& a, const torch::Tensor& b, double least) {
  const torch::Tensor x = a.to(torch::kDouble), y = b.to(torch::kDouble);
  return (x - y).abs().max().item<double>() / std::max(y.abs().max().item<double>(), least);
}

/// A case's tensors as the kernels get them: images of T, the rest of A; results begin as NaN.
template <class T, class A>
class GroupNormEmulation {
 public:
  static constexpr torch::Dtype kImage = c10::CppTypeToScalarType<T>::value;
  static constexpr torch::Dtype kSum = c10::CppTypeToScalarType<A>::value;

  GroupNormEmulation(const GroupNormCase& c, GroupNormInputs in) : case_(c), in_(std::move(in)) {
    const int64_t batch = c.shape[0], channels = c.shape[1];
    const auto of = [&](torch::Dtype type, int64_t n) {
      return torch::full({batch, n}, std::nan(""), type);
    };
    out_.y = torch::full_like(in_.x, std::nan(""));
    dx_ = parts_of(torch::full_like(in_.x, std::nan("")));
    x_ = parts_of(in_.x);
    if (in_.addend.defined()) addend_ = parts_of(in_.addend);
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

  GroupNormImages images() const {
    GroupNormImages m;
    m.x = data(x_[0]), m.skip = data(x_[1]), m.first = case_.shape[1] - case_.skip;
    m.y = data(out_.y), m.dy = data(in_.dy);
    m.dx = data(dx_[0]), m.d_skip = data(dx_[1]);
    m.dx_addend = data(addend_[0]), m.d_skip_addend = data(addend_[1]);
    if (case_.dropout > 0) m.dropout = dropout_of(case_.dropout, &kDropoutKey);
    return m;
  }

  torch::Tensor dx() const { return dx_[0]; }

  /// d_weight and d_bias summed over the images, as the caller does.
  GroupNormResults results() const {
    GroupNormResults r = out_;
    r.dx = dx_[1].defined() ? torch::cat({dx_[0], dx_[1]}, 1) : dx_[0];
    r.d_weight = r.d_weight.sum(0);
    r.d_bias = r.d_bias.sum(0);
    return r;
  }

 protected:
  static T* data(const torch::Tensor& t) { return t.defined() ? t.data_ptr<T>() : nullptr; }

  // An image's channels in x and in the skip.
  std::array<torch::Tensor, 2> parts_of(const torch::Tensor& image) const {
    const int64_t first = case_.shape[1] - case_.skip;
    const auto part = [&](int64_t from, int64_t count) {
      return count > 0 ? image.narrow(1, from, count).contiguous(kLast) : torch::Tensor();
    };
    return {part(0, first), part(first, case_.skip)};
  }

  /// All phases of `count` blocks of threads, which run forwards or backwards; shared memory begins
  /// as NaNs.
  template <class Thread, class Make>
  static void run(int64_t count, int threads_per_block, int64_t bytes, bool backwards,
                  const Make& make) {
    std::vector<int> order(threads_per_block);
    std::iota(order.begin(), order.end(), 0);
    if (backwards) std::reverse(order.begin(), order.end());
    std::vector<std::max_align_t> shared(bytes / sizeof(std::max_align_t) + 1);
    for (int64_t block = 0; block < count; ++block) {
      std::memset(shared.data(), 0xFF, shared.size() * sizeof(shared[0]));
      std::vector<Thread> threads;
      threads.reserve(threads_per_block);
      for (int t = 0; t < threads_per_block; ++t) threads.push_back(make(block, t, shared.data()));
      for (int i = 0; i < Thread::kPhases; ++i) {
        for (const int t : order) threads[t].phase(i);
      }
    }
  }

  GroupNormCase case_;
  GroupNormInputs in_;
  GroupNormResults out_;
  std::array<torch::Tensor, 2> x_, dx_, addend_;
};

}  // namespace ddpm::kernels
