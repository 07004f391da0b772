#include "ddpm/bench/doctor.h"

#include "src/bench/doctor_probes.h"
#include "src/bench/doctor_rules.h"
#include "tests/io/temporary_folder.h"

#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace ddpm::bench {
namespace {

Libraries cuda_libraries() {
  return {.torch = "2.11.0",
          .cuda = 13000,
          .cudnn = "9.19.0",
          .nccl = "2.28.9",
          .architectures = "80-real 90-real 90-virtual"};
}

CudaDriver driver_with(int version, std::vector<Gpu> gpus) {
  return {.installed = true, .version = version, .release = "580.65.06", .gpus = std::move(gpus)};
}

Gpu gpu_of(int capability, std::vector<bool> peers = {true}) {
  return {"NVIDIA TEST", 80'000'000'000, capability, std::move(peers)};
}

CudaDriver no_driver() { return {.problem = "no NVIDIA driver is installed"}; }

void expect(const Finding& finding, Health health, const std::string& advice) {
  EXPECT_EQ(finding.health, health) << finding.check << ": " << finding.found;
  EXPECT_NE(finding.advice.find(advice), std::string::npos) << finding.advice;
  EXPECT_EQ(finding.advice.empty(), health == Health::kOk)
      << "advice if, and only if, it is not ok";
}

TEST(DoctorGpu, AMachineWithoutOneIsFineUnlessItIsAskedFor) {
  expect(judge_gpu(cuda_libraries(), no_driver(), false), Health::kOk, "");
  expect(judge_gpu(cuda_libraries(), no_driver(), true), Health::kProblem, "driver");
}

TEST(DoctorGpu, ADriverThatSeesNoneIsAWarning) {
  CudaDriver driver = driver_with(13000, {});
  driver.problem = "the driver sees no GPU";
  expect(judge_gpu(cuda_libraries(), driver, false), Health::kWarning, "CUDA_VISIBLE_DEVICES");
  expect(judge_gpu(cuda_libraries(), driver, true), Health::kProblem, "CUDA_VISIBLE_DEVICES");
}

TEST(DoctorGpu, TheDriverMustBeOfLibTorchsMajorVersion) {
  expect(judge_gpu(cuda_libraries(), driver_with(12080, {gpu_of(90)}), false), Health::kProblem,
         "LibTorch needs CUDA 13.0");
  expect(judge_gpu(cuda_libraries(), driver_with(13000, {gpu_of(90)}), false), Health::kOk, "");
  Libraries newer = cuda_libraries();
  newer.cuda = 13010;  // minor versions are compatible
  expect(judge_gpu(newer, driver_with(13000, {gpu_of(90)}), false), Health::kOk, "");
}

TEST(DoctorGpu, KernelsMustBeThereAndOfItsArchitecture) {
  Libraries l = cuda_libraries();
  l.architectures = "";
  expect(judge_gpu(l, driver_with(13000, {gpu_of(90)}), false), Health::kWarning, "--cuda");
  l.architectures = "90-real";
  expect(judge_gpu(l, driver_with(13000, {gpu_of(90), gpu_of(80)}), false), Health::kProblem,
         "-DDDPM_CUDA_ARCHITECTURES=80");
}

TEST(DoctorGpu, ACpuBuildOfLibTorchLeavesItUnused) {
  const Libraries l{.torch = "2.11.0"};
  expect(judge_gpu(l, driver_with(13000, {gpu_of(90)}), false), Health::kWarning, "LibTorch");
  expect(judge_gpu(l, driver_with(13000, {gpu_of(90)}), true), Health::kProblem, "LibTorch");
}

TEST(DoctorPeers, NamesThePairsWithoutAccess) {
  const CudaDriver driver =
      driver_with(13000, {gpu_of(90, {true, true, false}), gpu_of(90, {true, true, true}),
                          gpu_of(90, {false, true, true})});
  const Finding finding = judge_peers(driver);
  expect(finding, Health::kWarning, "nvidia-smi topo");
  EXPECT_NE(finding.found.find("GPUs 0-2:"), std::string::npos) << finding.found;
  expect(judge_peers(driver_with(13000, {gpu_of(90)})), Health::kOk, "");
  expect(judge_peers(no_driver()), Health::kOk, "");
}

TEST(DoctorNccl, OnlySeveralGpusNeedIt) {
  Libraries l = cuda_libraries();
  expect(judge_nccl(l, 8), Health::kOk, "");
  l.nccl = "";
  expect(judge_nccl(l, 1), Health::kOk, "");
  expect(judge_nccl(l, 2), Health::kWarning, "nccl.h");
}

TEST(DoctorThreads, MoreThanTheQuotaIsAWarningIfTheUserChoseIt) {
  expect(judge_threads(16, 16, std::nullopt, ""), Health::kOk, "");
  expect(judge_threads(16, 16, 4.0, ""), Health::kOk, "");  // the program then takes 4
  EXPECT_NE(judge_threads(16, 16, 4.0, "").found.find("4 for 4 usable cores"), std::string::npos);
  expect(judge_threads(16, 16, 4.0, "16"), Health::kWarning, "OMP_NUM_THREADS=4");
  expect(judge_threads(1, 16, std::nullopt, "1"), Health::kWarning, "unset OMP_NUM_THREADS");
  expect(judge_threads(4, 16, 4.0, "4"), Health::kOk, "");
}

TEST(DoctorProcessor, OlderKernelsThanTheProcessorsAreAWarning) {
  expect(judge_processor({"X", 4, 1, "avx512", ""}, "avx512"), Health::kOk, "");
  expect(judge_processor({"X", 4, 1, "avx2", ""}, "amx"), Health::kWarning, "DDPM_MAX_CPU_ISA");
  expect(judge_processor({"X", 4, 1, "base", ""}, "base"), Health::kWarning, "AVX2");
  expect(judge_processor({"X", 4, 1, "", "DDPM_MAX_CPU_ISA=x"}, "amx"), Health::kProblem, "");
}

TEST(DoctorLimits, HaveTwoThresholds) {
  expect(judge_open_files(100), Health::kProblem, "ulimit -n");
  expect(judge_open_files(512), Health::kWarning, "ulimit -n");
  expect(judge_open_files(1024), Health::kOk, "");
  expect(judge_memory(500'000'000), Health::kProblem, "");
  expect(judge_memory(2'000'000'000), Health::kWarning, "");
  expect(judge_memory(8'000'000'000), Health::kOk, "");
  expect(judge_shared_memory(64'000'000, 1), Health::kOk, "");
  expect(judge_shared_memory(64'000'000, 2), Health::kWarning, "--shm-size");
  expect(judge_shared_memory(128'000'000, 2), Health::kOk, "");
  expect(judge_load(0.4, 1), Health::kOk, "");
  expect(judge_load(7.0, 2), Health::kWarning, "");
}

TEST(DoctorDisk, JudgesRatesAndSpace) {
  const DiskRates good{64'000'000, 500e6, 900e6, 100'000'000'000, "/runs"};
  expect(judge_disk(good), Health::kOk, "");
  DiskRates slow = good;
  slow.write = 20e6;
  expect(judge_disk(slow), Health::kWarning, "--out");
  DiskRates full = good;
  full.free = 100'000'000;
  expect(judge_disk(full), Health::kProblem, "--out");
}

TEST(DoctorSpeed, ExpectsAShareOfTheConvolutionsRate) {
  const Speed speed{"training step", 0.2, 0.1, 0.5, 0.01, "8 images"};
  expect(judge_speed(speed, 0.4), Health::kOk, "");
  // At the expected share the same work takes 0.2 s * 0.5 / 0.4 = 0.25 s.
  EXPECT_NE(judge_speed(speed, 0.4).found.find("at most 250 ms"), std::string::npos)
      << judge_speed(speed, 0.4).found;
  expect(judge_speed(speed, 0.6), Health::kWarning, "--profile");
  Speed noisy = speed;
  noisy.spread = 0.5;
  expect(judge_speed(noisy, 0.4), Health::kWarning, "other programs");
}

TEST(DoctorDisk, WritesAndReadsAndLeavesTheFileToItsFolder) {
  const TemporaryFolder folder;
  const DiskRates rates = measure_disk(folder.path());
  EXPECT_GT(rates.bytes, 0u);
  EXPECT_LE(rates.bytes, 64'000'000u);
  EXPECT_GT(rates.write, 0.0);
  EXPECT_GT(rates.read, 0.0);
  EXPECT_GT(rates.free, 0u);
}

TEST(DoctorData, ReportsWhatCannotBeRead) {
  const TemporaryFolder folder;
  EXPECT_EQ(check_data("").health, Health::kOk);
  EXPECT_EQ(check_data(folder / "nowhere").health, Health::kProblem);
  EXPECT_NE(check_data(folder / "nowhere").found.find("nowhere"), std::string::npos);
}

TEST(DoctorText, RowsKeepToTheirColumns) {
  const Finding finding{"disk", Health::kWarning, std::string(30, 'a') + " " + std::string(60, 'b'),
                        "move it"};
  const std::string text = to_text(finding);
  EXPECT_TRUE(text.starts_with("disk           warning   aaa")) << text;
  EXPECT_NE(text.find("\n                  to do: move it\n"), std::string::npos) << text;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
  EXPECT_EQ(summary({finding}), "0 problems, 1 warning");
  const auto json = nlohmann::json::parse(to_json({finding, {"a", Health::kProblem, "b", "c"}}));
  EXPECT_EQ(json.at("problems"), 1);
  EXPECT_EQ(json.at("warnings"), 1);
  EXPECT_EQ(json.at("checks").at(0).at("result"), "warning");
}

TEST(DoctorMessage, IsDividedIntoWhatAndWhatToDo) {
  const Finding finding = from_message("port", Health::kProblem, "is taken; use another; or not");
  EXPECT_EQ(finding.found, "is taken");
  EXPECT_EQ(finding.advice, "use another; or not");
  EXPECT_EQ(from_message("port", Health::kProblem, "broken").advice, "");
}

}  // namespace
}  // namespace ddpm::bench
