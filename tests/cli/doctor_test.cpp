#include "ddpm/io/image.h"
#include "tests/cli/fixture.h"

#include <chrono>

#include <nlohmann/json.hpp>
#include <signal.h>
#include <torch/cuda.h>

namespace ddpm {
namespace {

class Doctor : public CliTest {
 protected:
  static nlohmann::json check(const nlohmann::json& report, const std::string& name) {
    for (const auto& row : report.at("checks")) {
      if (row.at("check") == name) return row;
    }
    ADD_FAILURE() << name << " is not in " << report;
    return {};
  }
};

TEST_F(Doctor, ChecksEverythingAndCleansUp) {
  std::filesystem::create_directory(folder_ / "pictures");
  for (int i = 0; i < 3; ++i) {
    io::write_png(folder_ / "pictures" / (std::to_string(i) + ".png"),
                  torch::full({3, 8, 8}, 40 * i, torch::kUInt8));
  }
  const ProgramResult result = run({"doctor", "--device", "cpu", "--data", "pictures", "--json"});
  ASSERT_EQ(result.status, 0) << result.out << result.err;
  const auto report = nlohmann::json::parse(result.out);
  EXPECT_EQ(report.at("problems"), 0);
  for (const char* name : {"libraries", "CPU", "GPU", "NCCL", "peer access", "CPU threads", "load",
                           "memory", "shared memory", "open files", "launcher", "port", "disk",
                           "checkpoint", "data", "network call"}) {
    const auto row = check(report, name);
    EXPECT_FALSE(row.at("found").get<std::string>().empty()) << name;
    EXPECT_EQ(row.at("advice") == "", row.at("result") == "ok") << row;
  }
  EXPECT_NE(check(report, "data").at("found").get<std::string>().find("3 images"),
            std::string::npos);
  // Only the config of the fixture, the pictures, and the program's own output are there.
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path()))
    EXPECT_EQ(entry.path().filename().string().find("doctor"), std::string::npos) << entry.path();
  EXPECT_FALSE(std::filesystem::exists(folder_ / "runs"));
}

TEST_F(Doctor, AProblemIsStatusOneAndSaysWhatToDo) {
  if (torch::cuda::is_available()) GTEST_SKIP() << "there is a GPU";
  const ProgramResult result = run({"doctor", "--device", "cuda", "--data", "nowhere"});
  EXPECT_EQ(result.status, 1) << result.out << result.err;
  for (const char* text : {"device         problem", "GPU            problem",
                           "data           problem", "to do: ", "3 problems, "})
    EXPECT_NE(result.out.find(text), std::string::npos) << text << " in\n" << result.out;
}

TEST_F(Doctor, FlagsAreChecked) {
  expect_error({"doctor", "--device", "gpu"}, 2, "use auto, cpu, cuda or cuda:N");
  expect_error({"doctor", "--port", "70000"}, 2, "must be at most 65,535");
}

TEST_F(Doctor, ASignalLeavesNoFolderBehind) {
  std::filesystem::create_directory(folder_ / "runs");
  Program program(folder_.path(), {"doctor", "--device", "cpu"});
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (std::filesystem::is_empty(folder_ / "runs") && std::chrono::steady_clock::now() < deadline)
    usleep(500);
  ASSERT_FALSE(std::filesystem::is_empty(folder_ / "runs"));
  program.send(SIGINT);
  EXPECT_EQ(program.wait().status, 130);
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "runs"));
}

TEST_F(Doctor, VersionNamesTheLibrariesAfterItsOwnLine) {
  const ProgramResult text = run({"--version"}), json = run({"--version", "--json"});
  ASSERT_EQ(text.status, 0) << text.err;
  ASSERT_EQ(json.status, 0) << json.err;
  const auto facts = nlohmann::json::parse(json.out);
  EXPECT_EQ(text.out.substr(0, text.out.find('\n')), "ddpm " + facts.at("ddpm").get<std::string>());
  for (const char* row : {"\nLibTorch ", "\nCPU ", "\nCUDA kernels ", "\nNCCL "})
    EXPECT_NE(text.out.find(row), std::string::npos) << row << " in\n" << text.out;
  EXPECT_EQ(run({"--json", "--version"}).out, json.out) << "in either order";
  EXPECT_NE(run({"--json"}).status, 0);
}

TEST_F(Doctor, VersionAlsoWorksWhereTheInstructionSetIsMisspelt) {
  Program program(folder_.path(), {"--version"}, {"DDPM_MAX_CPU_ISA=sse"});
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.out.find("DDPM_MAX_CPU_ISA=sse"), std::string::npos) << result.out;
}

}  // namespace
}  // namespace ddpm
