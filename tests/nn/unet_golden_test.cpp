#include "golden.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>
#include <torch/cuda.h>
#include <torch/types.h>

// Against an independent PyTorch implementation, scripts/make_unet_golden.py, itself compared with
// diffusers' UNet2DModel there.

namespace ddpm::nn {
namespace {

class UNetGolden : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Nets, UNetGolden, testing::ValuesIn(kGoldenNets),
                         [](const auto& info) { return info.param; });

TEST_P(UNetGolden, ParametersHaveTheNamesAndShapesOfDiffusers) {
  const Golden golden = load_golden(GetParam());
  std::set<std::string> expected, actual;
  for (const std::string& name : golden.file.names()) {
    if (name.starts_with("param/")) expected.insert(name.substr(6));
  }
  for (const auto& item : golden.net->named_parameters()) {
    actual.insert(item.key());
    EXPECT_EQ(item.value().sizes(), golden.get("param/" + item.key()).sizes()) << item.key();
  }
  EXPECT_EQ(actual, expected);
  EXPECT_TRUE(golden.net->buffers().empty());
}

TEST_P(UNetGolden, OutputIsTheReferences) {
  Golden golden = load_golden(GetParam());
  EXPECT_LT(relative_error(golden.output(), golden.get("output")), golden.tolerance());
}

TEST_P(UNetGolden, GradientsAreTheReferences) {
  Golden golden = load_golden(GetParam());
  const torch::Tensor x = golden.get("x").requires_grad_();
  const torch::Tensor output = golden.net(x, golden.get("t"), golden.labels());
  const torch::Tensor loss = (output - golden.get("target")).square().mean();
  EXPECT_NEAR(loss.item<double>(), golden.get("loss").item<double>(), golden.tolerance());
  loss.backward();
  EXPECT_LT(relative_error(x.grad(), golden.get("grad_x")), golden.tolerance());

  double largest = 0;
  for (const auto& item : golden.net->named_parameters())
    largest = std::max(largest, golden.get("grad/" + item.key()).abs().max().item<double>());
  for (const auto& item : golden.net->named_parameters()) {
    const torch::Tensor expected = golden.get("grad/" + item.key());
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    // Some gradients are zero but for rounding (softmax ignores the keys' bias), so the scale of a
    // tensor's error is never less than a thousandth of the network's largest gradient.
    const double scale = std::max(expected.abs().max().item<double>(), 1e-3 * largest);
    const double error = (item.value().grad() - expected).abs().max().item<double>() / scale;
    EXPECT_LT(error, golden.tolerance()) << item.key();
  }
}

TEST_P(UNetGolden, ChannelsLastGivesTheSameValues) {
  Golden golden = load_golden(GetParam());
  use_channels_last_(*golden.net);
  const torch::Tensor x = golden.get("x").contiguous(at::MemoryFormat::ChannelsLast);
  const torch::Tensor output = golden.net(x, golden.get("t"), golden.labels());
  EXPECT_LT(relative_error(output, golden.get("output")), golden.tolerance());
  for (const torch::Tensor& p : golden.net->parameters()) {
    if (p.dim() == 4) {
      EXPECT_TRUE(p.is_contiguous(at::MemoryFormat::ChannelsLast));
    }
  }
}

TEST_P(UNetGolden, Float32AgreesToItsPrecision) {
  Golden golden = load_golden(GetParam());
  golden.net->to(torch::kFloat);
  const torch::Tensor output =
      golden.net(golden.get("x").to(torch::kFloat), golden.get("t"), golden.labels());
  EXPECT_EQ(output.scalar_type(), torch::kFloat);
  // 2^-24 a rounding, amplified by a few dozen layers.
  EXPECT_LT(relative_error(output.to(torch::kDouble), golden.get("output")), 1e-4);
}

class UNetGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device on this machine";
  }
};

TEST_F(UNetGpu, OutputAndGradientsEqualTheCpus) {
  for (const std::string& name : kGoldenNets) {
    Golden golden = load_golden(name);
    golden.net->to(torch::kCUDA);
    const torch::Tensor x = golden.get("x").cuda().requires_grad_();
    const torch::Tensor labels = golden.labels();
    const torch::Tensor output =
        golden.net(x, golden.get("t").cuda(), labels.defined() ? labels.cuda() : labels);
    (output - golden.get("target").cuda()).square().mean().backward();
    // The device's float32 sinusoids differ by the last bits of an angle of up to 863: 863 x 2^-23.
    constexpr double kTolerance = 1e-3;
    EXPECT_LT(relative_error(output.cpu(), golden.get("output")), kTolerance) << name;
    EXPECT_LT(relative_error(x.grad().cpu(), golden.get("grad_x")), kTolerance) << name;
  }
}

// At t = 0 the sinusoids are exact, so all the rest is compared to float64's precision.
TEST_F(UNetGpu, OutputAtTimeZeroEqualsTheCpusToFloat64Precision) {
  for (const std::string& name : kGoldenNets) {
    Golden golden = load_golden(name);
    const torch::Tensor t = torch::zeros({2}, torch::kLong), labels = golden.labels();
    const torch::Tensor host = golden.net(golden.get("x"), t, labels);
    golden.net->to(torch::kCUDA);
    const torch::Tensor device =
        golden.net(golden.get("x").cuda(), t.cuda(), labels.defined() ? labels.cuda() : labels);
    EXPECT_LT(relative_error(device.cpu(), host), 1e-9) << name;
  }
}

}  // namespace
}  // namespace ddpm::nn
