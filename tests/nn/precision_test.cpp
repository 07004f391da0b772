#include "ddpm/nn/precision.h"

#include "golden.h"

#include <cstdlib>
#include <vector>

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/cuda.h>
#include <torch/types.h>

namespace ddpm::nn {
namespace {

TEST(Precision, NamesReadBack) {
  for (const std::string& name : precision_names())
    EXPECT_EQ(to_string(parse_precision(name)), name);
  EXPECT_THROW(parse_precision("fp16"), c10::Error);
}

TEST(Precision, StoresAllButFloat64InFloat32) {
  EXPECT_EQ(storage_type(Precision::kFp32), torch::kFloat);
  EXPECT_EQ(storage_type(Precision::kTf32), torch::kFloat);
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

// What ArithmeticGuard sets, as ATen tells it.
std::vector<bool> switches() {
  const at::Context& c = at::globalContext();
  return {c.deterministicAlgorithms(), c.deterministicAlgorithmsWarnOnly(),
          c.deterministicCuDNN(),      c.benchmarkCuDNN(),
          c.allowTF32CuBLAS(),         c.allowTF32CuDNN()};
}

TEST(ArithmeticGuard, SetsAtensSwitchesAndTakesThemBack) {
  ::unsetenv("CUBLAS_WORKSPACE_CONFIG");
  const std::vector<bool> before = switches();
  const bool filled = at::globalContext().deterministicFillUninitializedMemory();
  {
    const ArithmeticGuard guard(Precision::kFp32, false);
    EXPECT_EQ(switches(), (std::vector<bool>{false, false, false, true, false, false}));
    EXPECT_EQ(std::getenv("CUBLAS_WORKSPACE_CONFIG"), nullptr);
    {
      const ArithmeticGuard inner(Precision::kTf32, false);
      EXPECT_EQ(switches(), (std::vector<bool>{false, false, false, true, true, true}));
    }
    EXPECT_EQ(switches(), (std::vector<bool>{false, false, false, true, false, false}));
  }
  {
    const ArithmeticGuard guard(Precision::kBf16, true);
    EXPECT_EQ(switches(), (std::vector<bool>{true, false, true, false, false, false}));
    EXPECT_FALSE(at::globalContext().deterministicFillUninitializedMemory());
    EXPECT_STREQ(std::getenv("CUBLAS_WORKSPACE_CONFIG"), ":4096:8");
  }
  EXPECT_EQ(switches(), before);
  EXPECT_EQ(at::globalContext().deterministicFillUninitializedMemory(), filled);
  EXPECT_EQ(std::getenv("CUBLAS_WORKSPACE_CONFIG"), nullptr);
}

TEST(ArithmeticGuard, LeavesAWorkspaceThatWasChosen) {
  ::setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8", 1);
  { const ArithmeticGuard guard(Precision::kFp32, true); }
  EXPECT_STREQ(std::getenv("CUBLAS_WORKSPACE_CONFIG"), ":16:8");
  ::unsetenv("CUBLAS_WORKSPACE_CONFIG");
}

TEST(ArithmeticGuard, ChangesNoBitOnTheCpu) {
  for (const std::string& name : kGoldenNets) {
    Golden golden = load_golden(name);
    golden.net->to(torch::kFloat);
    const torch::Tensor x = golden.get("x").to(torch::kFloat);
    const auto output = [&] { return golden.net(x, golden.get("t"), golden.labels()); };
    const torch::Tensor plain = output();
    for (const bool deterministic : {false, true}) {
      const ArithmeticGuard guard(deterministic ? Precision::kFp32 : Precision::kTf32,
                                  deterministic);
      EXPECT_TRUE(output().equal(plain)) << name;
    }
  }
}

TEST(DescribeArithmetic, SaysWhatIsSet) {
  EXPECT_EQ(describe_arithmetic(Precision::kFp32, false, torch::kCPU), "fp32");
  EXPECT_EQ(describe_arithmetic(Precision::kTf32, false, torch::kCPU), "tf32 (fp32 on the CPU)");
  EXPECT_EQ(describe_arithmetic(Precision::kTf32, false, torch::kCUDA), "tf32");
  EXPECT_EQ(describe_arithmetic(Precision::kBf16, true, torch::kCUDA),
            "bf16, deterministic (cuDNN's benchmark off, TF32 off)");
}

TEST(ArithmeticGuardGpu, AllowsTf32OnlyWhereAskedFor) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA GPU here";
  const auto exact = torch::dtype(torch::kDouble).device(torch::kCUDA);
  const torch::Tensor a = torch::arange(256 * 256, exact).sin().view({256, 256});
  const auto error = [&](Precision precision) {
    const ArithmeticGuard guard(precision, false);
    const torch::Tensor product = torch::mm(a.to(torch::kFloat), a.to(torch::kFloat));
    return ((product - torch::mm(a, a)).norm() / torch::mm(a, a).norm()).item<double>();
  };
  // Roundings of 2^-24, and of 2^-11 on a GPU that has TF32 (compute capability 8 and later).
  EXPECT_LT(error(Precision::kFp32), 1e-6);
  EXPECT_LT(error(Precision::kTf32), 2e-3);
}

}  // namespace
}  // namespace ddpm::nn
