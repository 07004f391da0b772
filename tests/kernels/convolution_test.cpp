#include "ddpm/kernels/convolution.h"

#include "tests/base/test_purpose.h"
#include "tests/kernels/normal.h"

#include <cmath>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/function.h>
#include <torch/types.h>

namespace ddpm::kernels::convolution_test {
namespace {

const RngKey kKey = rng_key(2016, kTestPurpose);
constexpr auto kLast = torch::MemoryFormat::ChannelsLast;

torch::Tensor normal(at::IntArrayRef shape, int64_t id) { return normal_row(kKey, shape, id); }

struct Case {
  std::string name;
  int64_t batch, in, out, height, width;
  bool weight_last = true;  // channels_last
};

// x, weight, bias as leaves and dy.
std::vector<torch::Tensor> inputs(const Case& c) {
  const torch::Tensor weight =
      normal({c.out, c.in, 3, 3}, 1) / std::sqrt(9.0 * static_cast<double>(c.in));
  return {normal({c.batch, c.in, c.height, c.width}, 0).contiguous(kLast),
          c.weight_last ? weight.contiguous(kLast) : weight, normal({c.out}, 2),
          normal({c.batch, c.out, c.height, c.width}, 3).contiguous(kLast)};
}

// y and the gradients of x, weight and bias.
std::vector<torch::Tensor> run(const std::vector<torch::Tensor>& in, torch::Dtype type, bool ours) {
  std::vector<torch::Tensor> leaf;
  for (size_t i = 0; i < 3; ++i)
    leaf.push_back(in[i].to(type, false, /*copy=*/true).requires_grad_());
  const torch::Tensor y =
      ours ? conv3x3(leaf[0], leaf[1], leaf[2]) : at::conv2d(leaf[0], leaf[1], leaf[2], 1, 1);
  y.backward(in[3].to(type));
  return {y.detach(), leaf[0].grad(), leaf[1].grad(), leaf[2].grad()};
}

double difference(const torch::Tensor& a, const torch::Tensor& b) {
  const torch::Tensor x = a.to(torch::kDouble), y = b.to(torch::kDouble);
  return ((x - y).abs().max() / y.abs().max()).item<double>();
}

bool is_winograd(const torch::Tensor& y) {
  return y.grad_fn()->name().find("Winograd") != std::string::npos;
}

class Conv3x3 : public testing::TestWithParam<Case> {};

// Sums of up to 2304 products and of up to 9216 pixels, each rounded to 6e-8.
TEST_P(Conv3x3, EqualsAtenInFloat64ToFloat32Rounding) {
  const auto in = inputs(GetParam());
  const auto ours = run(in, torch::kFloat, true), exact = run(in, torch::kDouble, false);
  for (size_t i = 0; i < ours.size(); ++i)
    EXPECT_LT(difference(ours[i], exact[i]), 2e-6) << "result " << i;
  EXPECT_TRUE(is_winograd(conv3x3(in[0], in[1].detach().requires_grad_(), in[2])));
}

TEST_P(Conv3x3, GivesTheSameBitsAgainAndImagesDoNotDependOnThreads) {
  const auto in = inputs(GetParam());
  const int threads = at::get_num_threads();
  std::vector<std::vector<torch::Tensor>> results;
  for (const int n : {2, 2, 1}) {
    at::set_num_threads(n);
    results.push_back(run(in, torch::kFloat, true));
  }
  at::set_num_threads(threads);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(results[0][i].equal(results[1][i])) << "result " << i;
    if (i < 2) {
      EXPECT_TRUE(results[0][i].equal(results[2][i])) << "result " << i;
    }
  }
}

// Each has at least 256 patches, which is when Winograd's way is taken.
INSTANTIATE_TEST_SUITE_P(All, Conv3x3,
                         testing::Values(Case{"square", 4, 32, 32, 16, 16},
                                         Case{"more_out", 2, 32, 96, 24, 24},
                                         Case{"more_in", 1, 256, 32, 32, 32},
                                         Case{"odd_sides", 9, 32, 64, 11, 13},
                                         Case{"one_row", 3, 64, 32, 1, 200},
                                         Case{"plain_weight", 4, 64, 32, 16, 16, false},
                                         Case{"large", 1, 32, 32, 96, 96}),
                         [](const auto& info) { return info.param.name; });

TEST(Conv3x3Inputs, WhatHasNoKernelIsAtens) {
  const auto same = [](const torch::Tensor& x, const torch::Tensor& weight) {
    const torch::Tensor bias = torch::ones({weight.size(0)}, x.options());
    const torch::Tensor y = conv3x3(x.detach().requires_grad_(), weight, bias);
    return !is_winograd(y) && y.equal(at::conv2d(x, weight, bias, 1, 1));
  };
  const torch::Tensor x = normal({4, 32, 16, 16}, 0), weight = normal({32, 32, 3, 3}, 1);
  EXPECT_TRUE(same(x, weight)) << "not channels_last";
  EXPECT_TRUE(same(x.to(torch::kDouble).contiguous(kLast), weight.to(torch::kDouble)));
  EXPECT_TRUE(same(normal({4, 3, 16, 16}, 0).contiguous(kLast), normal({32, 3, 3, 3}, 1)));
  EXPECT_TRUE(same(normal({1, 32, 8, 8}, 0).contiguous(kLast), weight)) << "few pixels";
}

TEST(Conv3x3Inputs, OneBadNumberReachesItsPatchesAlone) {
  torch::Tensor x = torch::ones({1, 32, 40, 40}).contiguous(kLast);
  x[0][5][20][20] = std::nanf("");
  const torch::Tensor y = conv3x3(x, torch::ones({32, 32, 3, 3}), torch::zeros({32}));
  EXPECT_TRUE(y.slice(2, 19, 22).slice(3, 19, 22).isnan().all().item<bool>());
  EXPECT_LE(y.isnan().sum().item<int64_t>(), 32 * 16);  // of four patches
}

TEST(Conv3x3Inputs, WrongShapesAreRefused) {
  const torch::Tensor x = torch::zeros({1, 4, 5, 5});
  EXPECT_THROW(conv3x3(x, torch::zeros({4, 4, 1, 1}), torch::zeros({4})), c10::Error);
  EXPECT_THROW(conv3x3(x, torch::zeros({4, 5, 3, 3}), torch::zeros({4})), c10::Error);
  EXPECT_THROW(conv3x3(x, torch::zeros({4, 4, 3, 3}), torch::zeros({3})), c10::Error);
}

}  // namespace
}  // namespace ddpm::kernels::convolution_test
