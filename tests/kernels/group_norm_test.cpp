#include "ddpm/kernels/residual_block.h"
#include "src/kernels/cpu/loops.h"
#include "tests/base/test_purpose.h"
#include "tests/kernels/normal.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace ddpm::kernels::group_norm_test {
namespace {

const RngKey kKey = rng_key(2018, kTestPurpose);
constexpr auto kLast = torch::MemoryFormat::ChannelsLast;

torch::Tensor normal(at::IntArrayRef shape, int64_t id) {
  return normal_row(kKey, shape, id, torch::kDouble);
}

struct Case {
  std::string name;
  std::vector<int64_t> shape;
  int64_t groups;
  bool add, scale_shift, silu;
  double spread = 1.0, offset = 0.0;  // of x

  // With a group a channel nothing depends on what is added to it: that gradient is 0.
  double least() const { return groups == shape[1] ? 1.0 : 1e-300; }
};

// The operation's inputs as leaves, float64, and dy.
struct Inputs {
  explicit Inputs(const Case& c) {
    const int64_t batch = c.shape[0], channels = c.shape[1];
    x = (normal(c.shape, 0) * c.spread + c.offset).contiguous(kLast);
    weight = normal({channels}, 1) * 0.5 + 1;
    bias = normal({channels}, 2);
    if (c.add) add = normal({batch, channels}, 3) * c.spread;
    if (c.scale_shift) {
      scale = normal({batch, channels}, 4) * 0.3;
      shift = normal({batch, channels}, 5);
    }
    dy = normal(c.shape, 6).contiguous(kLast);
  }

  std::vector<torch::Tensor> leaves(torch::Dtype type, torch::Dtype of_x,
                                    torch::Device device = torch::kCPU) const {
    std::vector<torch::Tensor> all;
    for (const torch::Tensor& t : {x, weight, bias, add, scale, shift}) {
      all.push_back(t.defined()
                        ? t.to(device, all.empty() ? of_x : type).detach().clone().requires_grad_()
                        : t);
    }
    return all;
  }

  torch::Tensor x, weight, bias, add, scale, shift, dy;
};

// y, then the gradients of all leaves.
std::vector<torch::Tensor> run(const Case& c, const std::vector<torch::Tensor>& in,
                               const torch::Tensor& dy, bool composed) {
  const Modulation m{in[3], in[4], in[5]};
  constexpr double kEps = 1e-6;
  const torch::Tensor y = composed
                              ? composed_group_norm(in[0], in[1], in[2], c.groups, kEps, m, c.silu)
                          : c.silu ? group_norm_silu(in[0], in[1], in[2], c.groups, kEps, m)
                                   : group_norm(in[0], in[1], in[2], c.groups, kEps, m);
  y.backward(dy.to(y.device(), y.scalar_type()));
  std::vector<torch::Tensor> results{y.detach()};
  for (const torch::Tensor& t : in) {
    if (t.defined()) results.push_back(t.grad());
  }
  return results;
}

// The largest difference, against the largest value, or `least` where that is more.
double difference(const torch::Tensor& a, const torch::Tensor& b, double least = 1e-300) {
  const torch::Tensor x = a.cpu().to(torch::kDouble), y = b.cpu().to(torch::kDouble);
  return (x - y).abs().max().item<double>() / std::max(y.abs().max().item<double>(), least);
}

std::vector<Case> cases() {
  return {{"plain", {2, 8, 4, 4}, 4, false, false, false},
          {"silu", {2, 8, 4, 4}, 4, false, false, true},
          {"time_added", {3, 32, 8, 8}, 8, true, false, true},
          {"scaled_and_shifted", {2, 32, 8, 8}, 8, false, true, true},
          {"everything", {2, 24, 5, 7}, 3, true, true, true},
          {"odd_channels", {2, 15, 3, 5}, 5, true, false, true},
          {"one_group", {2, 21, 6, 6}, 1, true, false, true},
          {"a_group_a_channel", {2, 12, 6, 6}, 12, true, true, true},
          {"many_blocks", {1, 64, 31, 33}, 32, true, false, true},
          {"many_channels", {1, 1030, 3, 3}, 103, false, true, true},
          {"huge", {2, 16, 6, 6}, 4, true, false, true, 1e6},
          {"tiny", {2, 16, 6, 6}, 4, true, false, true, 1e-9},
          {"far_from_zero", {2, 16, 9, 9}, 4, false, false, true, 1.0, 1000.0}};
}

class GroupNorm : public testing::TestWithParam<Case> {};

// Sums in another order: some 1e4 terms, each rounded to 1e-16; with the mean at 1000 deviations
// ATen itself keeps three digits less.
TEST_P(GroupNorm, EqualsAtenInFloat64) {
  const Case c = GetParam();
  const Inputs inputs(c);
  const auto ours = run(c, inputs.leaves(torch::kDouble, torch::kDouble), inputs.dy, false);
  const auto aten = run(c, inputs.leaves(torch::kDouble, torch::kDouble), inputs.dy, true);
  ASSERT_EQ(ours.size(), aten.size());
  EXPECT_TRUE(ours[0].is_contiguous(kLast));
  for (size_t i = 0; i < ours.size(); ++i) {
    EXPECT_LT(difference(ours[i], aten[i], c.least()), c.offset > 0 ? 1e-9 : 1e-10)
        << "result " << i;
  }
}

// float32 against float64 of the same (rounded) inputs. "far_from_zero": x itself has but 1000 *
// 6e-8 of a deviation; its rounding is not counted, that of the group's mean is.
TEST_P(GroupNorm, InFloat32IsAsCloseAsRoundingAllows) {
  const Case c = GetParam();
  Inputs inputs(c);
  const auto in = inputs.leaves(torch::kFloat, torch::kFloat);
  std::vector<torch::Tensor> exact;
  for (const torch::Tensor& t : in)
    exact.push_back(t.defined() ? t.detach().to(torch::kDouble).requires_grad_() : t);
  inputs.dy = inputs.dy.to(torch::kFloat).to(torch::kDouble);
  const auto ours = run(c, in, inputs.dy, false);
  const auto wanted = run(c, exact, inputs.dy, true);
  for (size_t i = 0; i < ours.size(); ++i) {
    EXPECT_LT(difference(ours[i], wanted[i], c.least()), c.offset > 0 ? 2e-4 : 4e-6)
        << "result " << i;
  }
}

// bfloat16 images, everything else float32, as under autocast: y and dx are rounded to 2^-9.
TEST_P(GroupNorm, InBfloat16OnlyTheResultsAreRounded) {
  const Case c = GetParam();
  Inputs inputs(c);
  const auto in = inputs.leaves(torch::kFloat, torch::kBFloat16);
  std::vector<torch::Tensor> exact;
  for (const torch::Tensor& t : in)
    exact.push_back(t.defined() ? t.detach().to(torch::kDouble).requires_grad_() : t);
  inputs.dy = inputs.dy.to(torch::kBFloat16).to(torch::kDouble);
  const auto ours = run(c, in, inputs.dy, false);
  const auto wanted = run(c, exact, inputs.dy, true);
  EXPECT_EQ(ours[0].scalar_type(), torch::kBFloat16);
  EXPECT_EQ(ours[2].scalar_type(), torch::kFloat);
  for (size_t i = 0; i < ours.size(); ++i) {
    const double bound = i < 2 ? 1.0 / 256 : c.offset > 0 ? 2e-4 : 1e-5;
    EXPECT_LT(difference(ours[i], wanted[i], c.least()), bound) << "result " << i;
  }
}

TEST_P(GroupNorm, DoesNotDependOnTheNumberOfThreads) {
  const Case c = GetParam();
  const Inputs inputs(c);
  const int threads = at::get_num_threads();
  std::vector<std::vector<torch::Tensor>> results;
  for (const int n : {1, 2, 3}) {
    at::set_num_threads(n);
    results.push_back(run(c, inputs.leaves(torch::kFloat, torch::kFloat), inputs.dy, false));
  }
  at::set_num_threads(threads);
  for (size_t i = 0; i < results[0].size(); ++i) {
    EXPECT_TRUE(results[0][i].equal(results[1][i]) && results[0][i].equal(results[2][i])) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(All, GroupNorm, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

// (f(x + h d) - f(x - h d)) / 2h = f'(x) d, with f = sum(dy * y), for a direction d in each input.
TEST(GroupNormGradient, EqualsFiniteDifferences) {
  const Case c{"", {2, 12, 5, 3}, 4, true, true, true};
  const Inputs inputs(c);
  const auto in = inputs.leaves(torch::kDouble, torch::kDouble);
  const auto results = run(c, in, inputs.dy, false);
  const torch::NoGradGuard no_grad;
  for (size_t i = 0; i < in.size(); ++i) {
    const torch::Tensor direction = normal(in[i].sizes(), 10 + static_cast<int64_t>(i));
    const auto value = [&](double h) {
      auto moved = in;
      moved[i] = torch::empty_like(in[i]).copy_(in[i] + h * direction);
      const torch::Tensor y = group_norm_silu(moved[0], moved[1], moved[2], c.groups, 1e-6,
                                              {moved[3], moved[4], moved[5]});
      return (y * inputs.dy).sum().item<double>();
    };
    // h^2 of truncation, 1e-16 / h of rounding.
    const double numeric = (value(1e-5) - value(-1e-5)) / 2e-5;
    EXPECT_NEAR((results[i + 1] * direction).sum().item<double>(), numeric, 1e-6) << "input " << i;
  }
}

TEST(GroupNormInputs, OtherLayoutsAreComposedOfAten) {
  const Case c{"", {2, 8, 4, 4}, 4, true, true, true};
  const Inputs inputs(c);
  auto in = inputs.leaves(torch::kDouble, torch::kDouble);
  in[0] = in[0].detach().contiguous().requires_grad_();
  const auto ours = run(c, in, inputs.dy.contiguous(), false);
  EXPECT_TRUE(ours[0].is_contiguous());
  const auto wanted = run(c, inputs.leaves(torch::kDouble, torch::kDouble), inputs.dy, false);
  for (size_t i = 0; i < ours.size(); ++i) EXPECT_LT(difference(ours[i], wanted[i]), 1e-12) << i;
}

TEST(GroupNormInputs, AnOutputGradientInAnotherLayoutIsTheSame) {
  const Case c{"", {2, 8, 4, 4}, 4, false, false, true};
  const Inputs inputs(c);
  const auto a = run(c, inputs.leaves(torch::kFloat, torch::kFloat), inputs.dy, false);
  const auto b = run(c, inputs.leaves(torch::kFloat, torch::kFloat), inputs.dy.contiguous(), false);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i].equal(b[i])) << i;
}

TEST(GroupNormInputs, OneBadNumberIsSeenInItsGroupAlone) {
  for (const double bad : {std::nan(""), HUGE_VAL}) {
    torch::Tensor x = normal({1, 32, 4, 4}, 0).to(torch::kFloat).contiguous(kLast);
    x[0][9][2][2] = bad;
    const torch::Tensor y = group_norm_silu(x, torch::ones({32}), torch::zeros({32}), 4, 1e-6);
    EXPECT_TRUE(y.slice(1, 8, 16).isnan().all().item<bool>());
    EXPECT_TRUE(y.slice(1, 0, 8).isfinite().all().item<bool>());
    EXPECT_TRUE(y.slice(1, 16).isfinite().all().item<bool>());
  }
}

TEST(GroupNormInputs, WrongShapesAreRefused) {
  const torch::Tensor x = torch::zeros({2, 6, 2, 2}).contiguous(kLast);
  const torch::Tensor ones = torch::ones({6});
  EXPECT_THROW(group_norm(x, ones, ones, 4, 1e-6), c10::Error);
  EXPECT_THROW(group_norm(x, torch::ones({5}), ones, 3, 1e-6), c10::Error);
  EXPECT_THROW(group_norm(x, ones, ones, 3, 1e-6, {torch::zeros({6})}), c10::Error);
}

TEST(GroupNormInputs, SecondDerivativesAreRefusedRatherThanWrong) {
  const torch::Tensor x = normal({1, 8, 2, 2}, 0).contiguous(kLast).requires_grad_();
  const torch::Tensor y = group_norm_silu(x, torch::ones({8}, torch::kDouble),
                                          torch::zeros({8}, torch::kDouble), 2, 1e-6);
  EXPECT_THROW(torch::autograd::grad({y.sum()}, {x}, {}, true, /*create_graph=*/true), c10::Error);
}

// Every set of loops that this processor can run computes the same to rounding.
TEST(CpuLoops, EachKindOfProcessorGivesTheSame) {
  std::vector<const CpuLoops*> kinds{loops_base(), &cpu_loops()};
#if defined(__x86_64__)
  if (loops_avx2() && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    kinds.push_back(loops_avx2());
  if (loops_avx512() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
    kinds.push_back(loops_avx512());
#endif
  constexpr int64_t kPixels = 33, kChannels = 45;
  const torch::Tensor x = normal({kPixels, kChannels}, 0).to(torch::kFloat);
  const torch::Tensor dy = normal({kPixels, kChannels}, 1).to(torch::kFloat);
  const torch::Tensor k = normal({5, kChannels}, 2).to(torch::kFloat);
  std::vector<torch::Tensor> results;
  for (const CpuLoops* loops : kinds) {
    const auto& f = loops->group_norm_f32;
    torch::Tensor moments = torch::empty({kChannels, 2}, torch::kDouble);
    torch::Tensor sums = torch::empty_like(moments);
    torch::Tensor y = torch::empty_like(x), dx = torch::empty_like(x);
    torch::Tensor slope = torch::empty_like(x), dx_again = torch::empty_like(x);
    const auto data = [](const torch::Tensor& t) { return t.data_ptr<float>(); };
    f.moments(data(x), kPixels, kChannels, moments.data_ptr<double>());
    f.apply(data(x), data(y), data(slope), kPixels, kChannels, data(k), true);
    f.sums(data(x), data(dy), data(slope), kPixels, kChannels, data(k), true,
           sums.data_ptr<double>());
    f.gradient(data(x), data(dy), nullptr, data(dx), kPixels, kChannels, data(k), true);
    f.gradient(data(x), data(dy), data(slope), data(dx_again), kPixels, kChannels, data(k), true);
    results.push_back(torch::cat({moments.flatten(), sums.flatten(), y.flatten().to(torch::kDouble),
                                  dx.flatten().to(torch::kDouble)}));
    EXPECT_LT(difference(dx_again, dx), 1e-6) << "from the slope in memory";
  }
  for (const torch::Tensor& r : results) EXPECT_LT(difference(r, results[0]), 1e-6);
}

// --- CUDA: the CPU's numbers, to rounding ---

class GroupNormGpu : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device on this machine";
  }
};

TEST_P(GroupNormGpu, EqualsTheCpus) {
  const Case c = GetParam();
  const Inputs inputs(c);
  for (const auto& [type, bound] :
       {std::pair{torch::kDouble, 1e-10}, std::pair{torch::kFloat, c.offset > 0 ? 2e-4 : 8e-6}}) {
    const auto host = run(c, inputs.leaves(type, type), inputs.dy, false);
    const auto device = run(c, inputs.leaves(type, type, torch::kCUDA), inputs.dy, false);
    for (size_t i = 0; i < host.size(); ++i) {
      EXPECT_LT(difference(device[i], host[i], c.least()), bound)
          << "result " << i << " in " << type;
    }
  }
}

TEST_P(GroupNormGpu, GivesTheSameBitsAgain) {
  const Case c = GetParam();
  const Inputs inputs(c);
  for (const auto type : {torch::kFloat, torch::kBFloat16, torch::kHalf}) {
    const auto once = run(c, inputs.leaves(torch::kFloat, type, torch::kCUDA), inputs.dy, false);
    const auto again = run(c, inputs.leaves(torch::kFloat, type, torch::kCUDA), inputs.dy, false);
    for (size_t i = 0; i < once.size(); ++i)
      EXPECT_TRUE(once[i].equal(again[i]) || c.spread > 1e4) << "result " << i << " in " << type;
  }
}

INSTANTIATE_TEST_SUITE_P(All, GroupNormGpu, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace ddpm::kernels::group_norm_test
