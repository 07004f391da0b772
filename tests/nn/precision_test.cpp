#include "ddpm/nn/precision.h"

#include "golden.h"

#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

namespace ddpm::nn {
namespace {

TEST(Precision, NamesReadBack) {
  for (const std::string& name : precision_names())
    EXPECT_EQ(to_string(parse_precision(name)), name);
  EXPECT_THROW(parse_precision("fp16"), c10::Error);
}

TEST(Precision, StoresBf16NetworksInFloat32) {
  EXPECT_EQ(storage_type(Precision::kFp32), torch::kFloat);
  EXPECT_EQ(storage_type(Precision::kBf16), torch::kFloat);
  EXPECT_EQ(storage_type(Precision::kFp64), torch::kDouble);
}

TEST(AutocastGuard, RestoresWhatItFound) {
  const auto enabled = [] { return at::autocast::is_autocast_enabled(torch::kCPU); };
  EXPECT_FALSE(enabled());
  {
    const AutocastGuard outer(torch::kCPU, Precision::kBf16);
    EXPECT_TRUE(enabled());
    EXPECT_EQ(at::autocast::get_autocast_dtype(torch::kCPU), torch::kBFloat16);
    { const AutocastGuard inner(torch::kCPU, Precision::kBf16); }
    EXPECT_TRUE(enabled());
  }
  EXPECT_FALSE(enabled());
  const AutocastGuard none(torch::kCPU, Precision::kFp32);
  EXPECT_FALSE(enabled());
}

// bfloat16 keeps 8 bits: 2^-9 a rounding, through a few dozen layers.
TEST(AutocastGuard, ComputesTheNetworkInBfloat16) {
  for (const std::string& name : kGoldenNets) {
    Golden golden = load_golden(name);
    golden.net->to(torch::kFloat);
    const AutocastGuard autocast(torch::kCPU, Precision::kBf16);
    const torch::Tensor x = golden.get("x").to(torch::kFloat);
    const torch::Tensor output = golden.net(x, golden.get("t"), golden.labels());
    EXPECT_EQ(output.scalar_type(), torch::kBFloat16);
    const double error = relative_error(output.to(torch::kDouble), golden.get("output"));
    EXPECT_LT(error, 0.1) << name;
    EXPECT_GT(error, 1e-4) << name;  // it is not float32 after all
    output.sum().backward();
    for (const torch::Tensor& p : golden.net->parameters())
      EXPECT_EQ(p.grad().scalar_type(), torch::kFloat);
  }
}

}  // namespace
}  // namespace ddpm::nn
