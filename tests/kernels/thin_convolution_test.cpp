#include "ddpm/kernels/convolution.h"
#include "tests/base/test_purpose.h"
#include "tests/kernels/normal.h"

#include <vector>

#include <gtest/gtest.h>
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace ddpm::kernels::thin_convolution_test {
namespace {

const RngKey kKey = rng_key(33, kTestPurpose);

torch::Tensor normal(at::IntArrayRef shape, int64_t id) {
  return normal_row(kKey, shape, id, torch::kDouble);
}

struct Case {
  int64_t batch, in, out, height, width;
};

std::vector<Case> cases() {
  return {{2, 3, 16, 5, 7},  {2, 16, 3, 5, 7},    {1, 1, 12, 3, 3},
          {3, 132, 1, 4, 9}, {2, 6, 20, 1, 1},    {1, 260, 6, 9, 4},
          {2, 8, 8, 6, 6},   {4, 3, 128, 32, 32}, {4, 128, 3, 32, 32}};
}

// y and the gradients of x, weight and bias, on the CPU in float64; conv: of the three.
template <class Convolution>
std::vector<torch::Tensor> results_of(const std::vector<torch::Tensor>& inputs,
                                      const Convolution& conv) {
  std::vector<torch::Tensor> leaves;
  for (const torch::Tensor& t : inputs) leaves.push_back(t.detach().clone().requires_grad_());
  const torch::Tensor y = conv(leaves[0], leaves[1], leaves[2]);
  y.backward(normal(y.sizes(), 9).to(torch::kBFloat16).to(y.options()));  // rounded alike
  std::vector<torch::Tensor> results{y.detach()};
  for (const torch::Tensor& t : leaves) results.push_back(t.grad());
  for (torch::Tensor& t : results) t = t.cpu().to(torch::kDouble);
  return results;
}

void expect_equal(torch::Device device, torch::Dtype image, torch::Dtype result,
                  torch::Dtype weights, double bound) {
  for (const Case& c : cases()) {
    const double scale = 1.0 / std::sqrt(9.0 * static_cast<double>(c.in));
    const std::vector<torch::Tensor> ours{
        normal({c.batch, c.in, c.height, c.width}, 0).to(device, image),
        (normal({c.out, c.in, 3, 3}, 1) * scale).to(device, weights),
        normal({c.out}, 2).to(device, weights)};
    std::vector<torch::Tensor> exact_inputs;
    for (const torch::Tensor& t : ours) exact_inputs.push_back(t.cpu().to(torch::kDouble));
    const auto exact = results_of(exact_inputs, [](const auto& x, const auto& w, const auto& b) {
      return at::conv2d(x, w, b, 1, 1);
    });
    const auto found = results_of(ours, [&](const auto& x, const auto& w, const auto& b) {
      return thin_convolution(x, w, b, result);
    });
    for (size_t i = 0; i < exact.size(); ++i) {
      const double error = (found[i] - exact[i]).norm().item<double>();
      EXPECT_LT(error / exact[i].norm().item<double>(), bound)
          << "result " << i << " of " << c.in << " -> " << c.out;
    }
  }
}

TEST(ThinConvolution, IsAtens) {
  expect_equal(torch::kCPU, torch::kDouble, torch::kDouble, torch::kDouble, 1e-12);
  expect_equal(torch::kCPU, torch::kFloat, torch::kFloat, torch::kFloat, 2e-6);
}

class ThinConvolutionGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device on this machine";
  }
};

// Up to 2e4 terms in float32.
TEST_F(ThinConvolutionGpu, EqualsAtenInFloat64) {
  expect_equal(torch::kCUDA, torch::kFloat, torch::kFloat, torch::kFloat, 2e-6);
}
// y or its gradient, and the gradient of x, are rounded to 2^-9.
TEST_F(ThinConvolutionGpu, RoundsOnlyWhatHasFewerDigits) {
  expect_equal(torch::kCUDA, torch::kBFloat16, torch::kBFloat16, torch::kFloat, 3e-3);
}

}  // namespace
}  // namespace ddpm::kernels::thin_convolution_test
