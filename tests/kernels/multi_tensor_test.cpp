#include "ddpm/kernels/attention.h"
#include "ddpm/kernels/convolution.h"
#include "ddpm/kernels/elementwise.h"
#include "src/kernels/channel_operations.h"
#include "tests/base/test_purpose.h"
#include "tests/kernels/normal.h"

#include <gtest/gtest.h>
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace ddpm::kernels::multi_tensor_test {
namespace {

constexpr auto kLast = torch::MemoryFormat::ChannelsLast;
const RngKey kKey = rng_key(7, kTestPurpose);

torch::Tensor normal(at::IntArrayRef shape, int64_t id) {
  return normal_row(kKey, shape, id, torch::kFloat);
}

// More than one launch's table; odd sizes, an empty tensor, a transposed and a channels_last one.
std::vector<torch::Tensor> many(torch::Device device) {
  std::vector<torch::Tensor> all;
  for (int64_t i = 0; i < 150; ++i) all.push_back(normal({i * 7 % 23 + 1}, i).to(device));
  all.push_back(normal({20011}, 200).to(device));
  all.push_back(torch::empty({0}, device));
  all.push_back(normal({5, 3, 3, 3}, 201).to(device).contiguous(kLast));
  all.push_back(normal({6, 9}, 202).to(device).t());
  return all;
}

void expect_casts(torch::Device device) {
  std::vector<torch::Tensor> leaves = many(device);
  for (torch::Tensor& t : leaves) t.requires_grad_();
  const std::vector<torch::Tensor> copies = cast_all_to_bf16(leaves);
  torch::Tensor sum = torch::zeros({}, device);
  for (size_t i = 0; i < copies.size(); ++i) {
    EXPECT_TRUE(copies[i].equal(leaves[i].to(torch::kBFloat16))) << i;
    if (i % 3 != 0) sum = sum + (copies[i].to(torch::kFloat) * leaves[i].detach()).sum();
  }
  sum.backward();
  for (size_t i = 0; i < leaves.size(); ++i) {
    if (i % 3 == 0) {
      EXPECT_FALSE(leaves[i].grad().defined()) << i;
      continue;
    }
    EXPECT_EQ(leaves[i].grad().scalar_type(), torch::kFloat);
    EXPECT_TRUE(leaves[i].grad().equal(leaves[i].detach().to(torch::kBFloat16).to(torch::kFloat)))
        << i;
  }
}

TEST(CastAll, CastsAndHandsGradientsBackInFloat32) { expect_casts(torch::kCPU); }

void expect_lerp(torch::Device device) {
  for (const double w : {0.0001, 0.75, 1.0}) {
    std::vector<torch::Tensor> to = many(device), from = many(device), expected;
    for (torch::Tensor& t : from) t.mul_(3.0).add_(1.0);
    for (size_t i = 0; i < to.size(); ++i)
      expected.push_back(torch::lerp(to[i].to(torch::kDouble), from[i].to(torch::kDouble), w));
    lerp_all_(to, from, torch::full({}, w, torch::dtype(torch::kFloat).device(device)));
    for (size_t i = 0; i < to.size(); ++i)
      EXPECT_TRUE(torch::allclose(to[i].to(torch::kDouble), expected[i], 1e-6, 1e-6)) << i;
    if (w == 1.0) {
      EXPECT_TRUE(to[5].equal(from[5]));
    }
  }
}

TEST(LerpAll, MovesByTheWeight) { expect_lerp(torch::kCPU); }

void expect_channel_operations(torch::Device device, torch::Dtype type, double bound) {
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{2, 16, 5, 3}, {3, 15, 4, 4}, {4, 256, 33, 31}, {1, 2056, 2, 2}}) {
    const torch::Tensor x = normal(shape, 1).to(device, type).contiguous(kLast);
    const torch::Tensor r = normal(shape, 2).to(device, type).contiguous(kLast);
    const torch::Tensor bias = normal({shape[1]}, 3).to(device);
    const torch::Tensor sums = channel_sums(x).cpu().to(torch::kDouble);
    const torch::Tensor exact = x.cpu().to(torch::kDouble).sum({0, 2, 3});
    const double terms = static_cast<double>(x.numel() / shape[1]);
    EXPECT_LT((sums - exact).abs().max().item<double>(), 3e-7 * terms) << shape;
    for (const bool residual : {false, true}) {
      const torch::Tensor y = x.clone(kLast);
      add_bias_residual_(y, bias, residual ? r : torch::Tensor());
      torch::Tensor wanted = x.cpu().to(torch::kDouble) + bias.cpu().view({1, -1, 1, 1});
      if (residual) wanted = wanted + r.cpu().to(torch::kDouble);
      EXPECT_LT((y.cpu().to(torch::kDouble) - wanted).abs().max().item<double>(), bound) << shape;
    }
  }
}

TEST(ChannelOperations, EqualTheirFormulas) {
  expect_channel_operations(torch::kCPU, torch::kFloat, 2e-6);
  expect_channel_operations(torch::kCPU, torch::kBFloat16, 4e-2);
}

class KernelsGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device on this machine";
  }
};
using CastAllGpu = KernelsGpu;
using LerpAllGpu = KernelsGpu;
using ChannelOperationsGpu = KernelsGpu;
using LinearGpu = KernelsGpu;
using UpsampleGpu = KernelsGpu;

TEST_F(CastAllGpu, CastsAndHandsGradientsBackInFloat32) { expect_casts(torch::kCUDA); }
TEST_F(LerpAllGpu, MovesByTheWeight) { expect_lerp(torch::kCUDA); }
TEST_F(ChannelOperationsGpu, EqualTheirFormulas) {
  expect_channel_operations(torch::kCUDA, torch::kFloat, 2e-6);
  expect_channel_operations(torch::kCUDA, torch::kBFloat16, 4e-2);
  expect_channel_operations(torch::kCUDA, torch::kHalf, 5e-3);
}

TEST_F(UpsampleGpu, EqualsAtens) {
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{2, 16, 5, 3}, {3, 7, 4, 4}}) {
    for (const auto type : {torch::kFloat, torch::kBFloat16}) {
      torch::Tensor host = normal(shape, 1).to(type).to(torch::kDouble).requires_grad_();
      torch::Tensor x = host.detach().to(torch::kCUDA, type).contiguous(kLast).requires_grad_();
      const torch::Tensor wanted = at::upsample_nearest2d(host, {2 * shape[2], 2 * shape[3]});
      const torch::Tensor y = upsample_nearest(x);
      EXPECT_TRUE(y.detach().cpu().to(torch::kDouble).equal(wanted.detach()));
      const torch::Tensor dy = normal(wanted.sizes(), 2).to(type);
      wanted.backward(dy.to(torch::kDouble));
      y.backward(dy.to(torch::kCUDA));
      EXPECT_TRUE(torch::allclose(x.grad().cpu().to(torch::kDouble), host.grad(), 1e-2, 1e-2));
    }
  }
}

TEST_F(LinearGpu, EqualsAtens) {
  for (const bool residual : {false, true}) {
    std::vector<torch::Tensor> host, device;
    for (const torch::Tensor& t :
         {normal({2, 5, 24}, 1), normal({16, 24}, 2), normal({16}, 3), normal({2, 5, 16}, 4)}) {
      host.push_back(t.to(torch::kDouble).requires_grad_());
      device.push_back(t.to(torch::kCUDA, torch::kDouble).detach().requires_grad_());
    }
    const auto run = [&](const std::vector<torch::Tensor>& t) {
      const torch::Tensor y = linear(t[0], t[1], t[2], residual ? t[3] : torch::Tensor());
      (y * y).sum().backward();
      return y.detach().cpu();
    };
    EXPECT_TRUE(torch::allclose(run(host), run(device), 1e-10, 1e-12));
    for (size_t i = 0; i < (residual ? 4u : 3u); ++i)
      EXPECT_TRUE(torch::allclose(host[i].grad(), device[i].grad().cpu(), 1e-10, 1e-12)) << i;
  }
}

}  // namespace
}  // namespace ddpm::kernels::multi_tensor_test
