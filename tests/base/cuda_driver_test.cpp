#include "ddpm/base/device.h"

#include <gtest/gtest.h>
#include <torch/cuda.h>

namespace ddpm {
namespace {

TEST(CudaDriver, SaysThatItsLibraryIsMissing) {
  const CudaDriver driver = read_cuda_driver("libno-such-driver.so.1");
  EXPECT_FALSE(driver.installed);
  EXPECT_EQ(driver.problem, "no NVIDIA driver is installed");
  EXPECT_TRUE(driver.gpus.empty());
  EXPECT_EQ(driver.version, 0);
}

TEST(CudaDriver, NamesAFunctionThatTheLibraryLacks) {
  const CudaDriver driver = read_cuda_driver("libz.so.1");
  EXPECT_TRUE(driver.installed);
  EXPECT_NE(driver.problem.find("lacks cuDriverGetVersion"), std::string::npos) << driver.problem;
  EXPECT_TRUE(driver.gpus.empty());
}

TEST(CudaDriver, SeesTheGpusThatLibTorchSees) {
  const CudaDriver driver = read_cuda_driver();
  EXPECT_EQ(driver.gpus.size(), torch::cuda::device_count());
  EXPECT_EQ(driver.problem.empty(), torch::cuda::is_available()) << driver.problem;
}

TEST(CudaDriverGpu, DescribesEachGpu) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "there is no GPU";
  const CudaDriver driver = read_cuda_driver();
  EXPECT_GT(driver.version, 10000);
  for (const Gpu& gpu : driver.gpus) {
    EXPECT_FALSE(gpu.name.empty());
    EXPECT_GT(gpu.memory, uint64_t{1} << 30);
    EXPECT_GE(gpu.capability, 50);
    EXPECT_EQ(gpu.peers.size(), driver.gpus.size());
  }
}

TEST(CudaDriver, VersionsAreWrittenAsNvidiaWritesThem) {
  EXPECT_EQ(cuda_version_text(13000), "13.0");
  EXPECT_EQ(cuda_version_text(12080), "12.8");
  EXPECT_EQ(capability_text(90), "9.0");
  EXPECT_EQ(capability_text(121), "12.1");
}

}  // namespace
}  // namespace ddpm
