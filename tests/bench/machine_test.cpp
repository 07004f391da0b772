#include "ddpm/bench/machine.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/version.h>

namespace ddpm::bench {
namespace {

// CUDA's rules: machine code runs on the same major number from its minor number on, PTX on
// anything as new as it.
TEST(RunsOn, MachineCodeNeedsTheSameMajorNumber) {
  EXPECT_TRUE(runs_on("80-real", 80));
  EXPECT_TRUE(runs_on("80-real", 89));
  EXPECT_FALSE(runs_on("80-real", 90));
  EXPECT_FALSE(runs_on("86-real", 80));
  EXPECT_FALSE(runs_on("100-real", 120));
  EXPECT_TRUE(runs_on("80-real 120-real", 120));
  EXPECT_FALSE(runs_on("", 90));
}

TEST(RunsOn, PtxRunsOnNewerGpus) {
  EXPECT_TRUE(runs_on("90-virtual", 120));
  EXPECT_TRUE(runs_on("90-virtual", 90));
  EXPECT_FALSE(runs_on("90-virtual", 89));
}

TEST(DescribeArchitectures, TellsPtxApart) {
  EXPECT_EQ(describe_architectures("80-real 90-real 90-virtual"), "80, 90; PTX 90 for newer GPUs");
  EXPECT_EQ(describe_architectures("90a-real"), "90");
}

TEST(Version, FirstLineIsTheProgramsAndTheJsonHasTheSameFacts) {
  const std::string text = version_text("1.2.3");
  EXPECT_EQ(text.substr(0, text.find('\n')), "ddpm 1.2.3");
  EXPECT_NE(text.back(), '\n');
  EXPECT_NE(text.find(TORCH_VERSION), std::string::npos) << text;
  const auto json = nlohmann::json::parse(version_json("1.2.3"));
  EXPECT_EQ(json.at("ddpm"), "1.2.3");
  EXPECT_EQ(json.at("libtorch"), TORCH_VERSION);
  EXPECT_GE(json.at("cpu").at("cores"), 1);
  EXPECT_EQ(json.at("gpus").size(), read_cuda_driver().gpus.size());
  EXPECT_EQ(json.at("cuda_kernels").empty(), text.find("not compiled in") < text.find("NCCL"));
}

}  // namespace
}  // namespace ddpm::bench
