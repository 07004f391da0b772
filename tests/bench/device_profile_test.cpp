#include "ddpm/base/error.h"
#include "ddpm/bench/profile.h"

#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

namespace ddpm::bench {
namespace {

// Names as cuDNN 9, cuBLAS 13, ATen and our kernels have them on an H200.
TEST(GroupOf, KnowsTheLibrariesNames) {
  const std::pair<const char*, const char*> expected[]{
      {"sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128x128x64",
       "convolutions"},
      {"void cutlass__5x_cudnn::Kernel<cutlass_tensorop_bf16_s16816wgrad_optimized>(Params)",
       "convolutions"},
      {"nvjet_hsh_128x256_64x4_2x1_v_bz_coopA_NNT", "products"},
      {"void pytorch_flash::flash_bwd_dq_dk_dv_loop_kernel<...>", "attention"},
      {"void ddpm::kernels::cuda::slab_forward_kernel<c10::BFloat16, float, 8>", "norms"},
      {"void at::native::(anonymous namespace)::multi_tensor_apply_kernel<...FusedAdam...>",
       "optimizer"},
      {"void at::native::reduce_kernel<128, 4, ...>", "reductions"},
      {"Memcpy DtoD (Device -> Device)", "copies"},
      {"void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>",
       "elementwise"}};
  for (const auto& [kernel, group] : expected) EXPECT_EQ(group_of(kernel), group) << kernel;
}

TEST(ProfileDevice, OnACpuWritesATraceOfTheOperations) {
  const auto trace = std::filesystem::path(testing::TempDir()) / "trace.json";
  const torch::Tensor x = torch::ones({8, 8});
  const DeviceProfile profile = profile_device(
      torch::kCPU, [&] { torch::matmul(x, x); }, trace);
  EXPECT_TRUE(profile.kernels.empty());
  std::ifstream file(trace);
  const auto json = nlohmann::json::parse(file);
  bool found = false;
  for (const auto& event : json.at("traceEvents")) found |= event.value("name", "") == "aten::mm";
  EXPECT_TRUE(found);
  EXPECT_THROW(profile_device(
                   torch::kCPU, [] {}, "/nowhere/trace.json"),
               IoError);
}

TEST(ProfileDeviceGpu, SeesAKernelOfKnownWork) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no GPU";
  const torch::Tensor x =
      torch::ones({4096, 4096}, torch::dtype(torch::kFloat).device(torch::kCUDA));
  const DeviceProfile profile = profile_device(torch::kCUDA, [&] {
    for (int i = 0; i < 3; ++i) torch::add(x, x);
  });
  ASSERT_EQ(profile.kernels.size(), 1u);
  EXPECT_EQ(profile.kernels[0].calls, 3);
  EXPECT_EQ(profile.kernels[0].group, "elementwise");
  // 201 MB of traffic each: no GPU moves more than 20 TB/s.
  EXPECT_GT(profile.busy_s, 3 * 201e6 / 20e12);
  EXPECT_LE(profile.busy_s, profile.span_s);
}

}  // namespace
}  // namespace ddpm::bench
