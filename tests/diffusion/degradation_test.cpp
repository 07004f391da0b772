#include "ddpm/diffusion/condition.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

namespace ddpm::diffusion {
namespace {

const auto kDouble = torch::dtype(torch::kDouble);

torch::Tensor images(int64_t channels, int64_t height, int64_t width) {
  torch::manual_seed(5);
  return torch::randn({2, channels, height, width}, kDouble);
}

double largest_difference(const torch::Tensor& a, const torch::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

// A's adjoint by autograd: <A x, y> = <x, A^T y>.
void expect_linear_with_adjoint(const Degradation& degrade, const torch::Tensor& x) {
  const torch::Tensor from = x.clone().requires_grad_();
  const torch::Tensor ax = degrade(from);
  const torch::Tensor y = torch::randn_like(ax);
  const torch::Tensor adjoint = torch::autograd::grad({(ax * y).sum()}, {from})[0];
  EXPECT_LT(largest_difference(degrade(2.5 * x), 2.5 * ax), 1e-14);
  EXPECT_NEAR((ax * y).sum().item<double>(), (x * adjoint).sum().item<double>(), 1e-11);
}

// Against a depthwise convolution with the sampled Gaussian, the border continued.
TEST(Degradation, BlurIsADepthwiseConvolution) {
  constexpr double kSigma = 1.3;
  constexpr int64_t kReach = 6;  // ceil(4 sigma)
  const torch::Tensor x = images(3, 11, 9);
  const torch::Tensor axis = torch::arange(-kReach, kReach + 1, kDouble);
  torch::Tensor kernel = (-axis.square() / (2 * kSigma * kSigma)).exp();
  kernel = kernel / kernel.sum();
  const torch::Tensor weight = torch::outer(kernel, kernel).expand({3, 1, 13, 13}).contiguous();
  const torch::Tensor padded = torch::replication_pad2d(x, {kReach, kReach, kReach, kReach});
  const torch::Tensor expected =
      at::conv2d(padded, weight, torch::Tensor(), 1, at::IntArrayRef{0}, 1, /*groups=*/3);
  EXPECT_LT(largest_difference(gaussian_blur(kSigma, 11, 9, kDouble)(x), expected), 1e-14);
}

TEST(Degradation, BlurKeepsAConstantImageAlsoIfItIsSmallerThanTheKernel) {
  const torch::Tensor flat = torch::full({1, 1, 3, 2}, 0.7, kDouble);
  EXPECT_LT(largest_difference(gaussian_blur(5.0, 3, 2, kDouble)(flat), flat), 1e-15);
}

TEST(Degradation, DownsamplingTakesTheMeanOfBlocks) {
  const torch::Tensor x = torch::arange(16, kDouble).view({1, 1, 4, 4});
  const torch::Tensor expected = torch::tensor({2.5, 4.5, 10.5, 12.5}, kDouble).view({1, 1, 2, 2});
  EXPECT_TRUE(downsampling(2)(x).equal(expected));
}

TEST(Degradation, GreyHasTheWeightsOfTheirNorm) {
  const torch::Tensor x = torch::tensor({1.0, 10.0, 100.0}, kDouble).view({1, 3, 1, 1});
  EXPECT_NEAR(grey()(x).item<double>(), 0.299 + 5.87 + 11.4, 1e-14);
}

TEST(Degradation, MissingPixelsAreZero) {
  const torch::Tensor unknown = torch::tensor({true, false}).view({1, 1, 1, 2});
  const torch::Tensor x = torch::full({1, 3, 1, 2}, 0.5, kDouble);
  EXPECT_TRUE(missing_pixels(unknown)(x).select(3, 0).eq(0).all().item<bool>());
  EXPECT_TRUE(missing_pixels(unknown)(x).select(3, 1).eq(0.5).all().item<bool>());
}

TEST(Degradation, AutogradIsTheAdjoint) {
  const torch::Tensor x = images(3, 6, 4);
  expect_linear_with_adjoint(gaussian_blur(0.8, 6, 4, kDouble), x);
  expect_linear_with_adjoint(downsampling(2), x);
  expect_linear_with_adjoint(grey(), x);
  expect_linear_with_adjoint(missing_pixels(x.narrow(0, 0, 1).narrow(1, 0, 1) > 0), x);
}

}  // namespace
}  // namespace ddpm::diffusion
