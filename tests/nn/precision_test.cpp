#include "ddpm/nn/precision.h"

#include "golden.h"

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/cuda.h>
#include <torch/types.h>

namespace ddpm::nn {
namespace {

TEST(Precision, NamesReadBack) {
  for (const std::string& name : config::names<Precision>())
    EXPECT_EQ(config::to_string(parse_precision(name)), name);
  EXPECT_THROW(parse_precision("fp16"), c10::Error);
}

TEST(Precision, StoresAllButFloat64InFloat32) {
  EXPECT_EQ(storage_type(Precision::kFp32), torch::kFloat);
  EXPECT_EQ(storage_type(Precision::kTf32), torch::kFloat);
  EXPECT_EQ(storage_type(Precision::kBf16), torch::kFloat);
  EXPECT_EQ(storage_type(Precision::kFp64), torch::kDouble);
}

TEST(PrecisionOn, ChoosesForAutoAlone) {
  for (const Precision p : {Precision::kFp32, Precision::kTf32, Precision::kBf16, Precision::kFp64})
    EXPECT_EQ(precision_on(torch::kCPU, p), p);
  const Precision chosen = precision_on(torch::kCPU, Precision::kAuto);
  // As /proc/cpuinfo names the instructions.
  std::ifstream file("/proc/cpuinfo");
  const std::string info{std::istreambuf_iterator<char>(file), {}};
  const bool bf16 =
      info.find("avx512_bf16") != std::string::npos || info.find("amx_bf16") != std::string::npos;
  if (!info.empty() && !std::getenv("DDPM_MAX_CPU_ISA")) {
    EXPECT_EQ(chosen, bf16 ? Precision::kBf16 : Precision::kFp32);
  }
  EXPECT_THROW(storage_type(Precision::kAuto), c10::Error);
}

TEST(PrecisionOnGpu, IsBf16FromComputeCapability8On) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device on this machine";
  const Precision chosen = precision_on(torch::kCUDA, Precision::kAuto);
  EXPECT_TRUE(chosen == Precision::kBf16 || chosen == Precision::kFp32);
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
    EXPECT_EQ(output.scalar_type(), torch::kFloat);  // the last convolution is not autocast
    const double error = relative_error(output.to(torch::kDouble), golden.get("output"));
    EXPECT_LT(error, 0.1) << name;
    EXPECT_GT(error, 1e-4) << name;  // it is not float32 after all
    output.sum().backward();
    for (const torch::Tensor& p : golden.net->parameters())
      EXPECT_EQ(p.grad().scalar_type(), torch::kFloat);
  }
}

// Calls that repay a search by cuDNN, and calls that do not.
constexpr int64_t kMany = 1'000'000, kFew = 100;

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
    const ArithmeticGuard guard(Precision::kFp32, false, kMany);
    EXPECT_EQ(switches(), (std::vector<bool>{false, false, false, true, false, false}));
    EXPECT_EQ(std::getenv("CUBLAS_WORKSPACE_CONFIG"), nullptr);
    {
      const ArithmeticGuard inner(Precision::kTf32, false, kMany);
      EXPECT_EQ(switches(), (std::vector<bool>{false, false, false, true, true, true}));
    }
    EXPECT_EQ(switches(), (std::vector<bool>{false, false, false, true, false, false}));
  }
  {
    const ArithmeticGuard guard(Precision::kBf16, true, kMany);
    EXPECT_EQ(switches(), (std::vector<bool>{true, false, true, false, false, false}));
    EXPECT_FALSE(at::globalContext().deterministicFillUninitializedMemory());
    EXPECT_STREQ(std::getenv("CUBLAS_WORKSPACE_CONFIG"), ":4096:8");
  }
  EXPECT_EQ(switches(), before);
  EXPECT_EQ(at::globalContext().deterministicFillUninitializedMemory(), filled);
  EXPECT_EQ(std::getenv("CUBLAS_WORKSPACE_CONFIG"), nullptr);
}

TEST(ArithmeticGuard, LetsCudnnMeasureOnlyIfTheCallsRepayIt) {
  const int before = at::globalContext().benchmarkLimitCuDNN();
  const auto measures = [](Precision precision, int64_t calls) {
    const ArithmeticGuard guard(precision, false, calls);
    return at::globalContext().benchmarkCuDNN();
  };
  EXPECT_FALSE(measures(Precision::kBf16, 0));
  EXPECT_FALSE(measures(Precision::kBf16, kFew));
  EXPECT_TRUE(measures(Precision::kBf16, kMany));
  EXPECT_TRUE(measures(Precision::kFp32, kMany));
  const auto limit = [](Precision precision) {
    const ArithmeticGuard guard(precision, false, kMany);
    return at::globalContext().benchmarkLimitCuDNN();
  };
  EXPECT_LT(limit(Precision::kFp32), limit(Precision::kBf16));
  EXPECT_EQ(at::globalContext().benchmarkLimitCuDNN(), before);
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

// Of positive factors, so that nothing cancels: each of K products is wrong by the rounding of its
// two factors at most, and their sum by K roundings of float32 (Higham 2002, Sec. 3.1).
TEST(ArithmeticGuardGpu, AllowsTf32OnlyWhereAskedFor) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA GPU here";
  constexpr int64_t kK = 16;
  const auto wide = torch::dtype(torch::kDouble).device(torch::kCUDA);
  const torch::Tensor a = torch::arange(256 * kK, wide).sin().add(1.5).view({256, kK});
  const torch::Tensor rounded = a.to(torch::kFloat);
  const torch::Tensor exact = torch::mm(rounded.to(torch::kDouble), rounded.to(torch::kDouble).t());
  const auto error = [&](Precision precision) {
    const ArithmeticGuard guard(precision, false);
    return ((torch::mm(rounded, rounded.t()) - exact) / exact).abs().max().item<double>();
  };
  EXPECT_LT(error(Precision::kFp32), kK * std::ldexp(1.0, -24));
  // 10 bits of mantissa, cut or rounded.
  EXPECT_LT(error(Precision::kTf32), 2.1 * std::ldexp(1.0, -10));
}

}  // namespace
}  // namespace ddpm::nn
