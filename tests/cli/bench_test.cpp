#include "tests/cli/fixture.h"

#include <chrono>
#include <thread>

#include <nlohmann/json.hpp>
#include <signal.h>

namespace ddpm {
namespace {

class BenchCommand : public CliTest {};

TEST_F(BenchCommand, JsonHasTheRatesOfEveryPart) {
  const ProgramResult result =
      run({"bench", "--config", "tiny.toml", "--repeats", "3", "--warm-up", "1", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out.find('\n'), result.out.size() - 1);
  const auto json = nlohmann::json::parse(result.out);
  for (const char* part : {"train", "forward", "sample", "data"}) {
    EXPECT_GT(json.at(part).at("images_per_s").get<double>(), 0.0) << part;
    EXPECT_EQ(json.at(part).at("repeats"), 3) << part;
  }
  for (const char* part : {"save", "load"}) EXPECT_GT(json.at(part).at("seconds"), 0.0) << part;
  EXPECT_GT(json.at("conv_gflops").get<double>(), 0.0);
  EXPECT_GT(json.at("conv_forward_gflops").get<double>(), 0.0);
  EXPECT_GT(json.at("train").at("share").get<double>(), 0.0);
  EXPECT_EQ(json.at("batch"), 8);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "runs"));
}

TEST_F(BenchCommand, MeasuresWhatIsAskedForAndListsOperations) {
  const ProgramResult result = run({"bench", "--config", "tiny.toml", "--what", "forward",
                                    "--repeats", "1", "--batch", "4", "--profile"});
  ASSERT_EQ(result.status, 0) << result.err;
  for (const char* text : {"batch 4", "its 3x3 convolutions alone", "forward", "self ms"})
    EXPECT_NE(result.out.find(text), std::string::npos) << text << " in " << result.out;
  EXPECT_EQ(result.out.find("checkpoint save"), std::string::npos) << result.out;
}

TEST_F(BenchCommand, ASignalEndsItWithOneLineAndLeavesNoFolderBehind) {
  const std::string temporary = "TMPDIR=" + (folder_ / "tmp").string();
  std::filesystem::create_directory(folder_ / "tmp");
  Program program(folder_.path(),
                  {"bench", "--config", "tiny.toml", "--what", "checkpoint", "--repeats", "100000"},
                  {temporary});
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (std::filesystem::is_empty(folder_ / "tmp") && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ASSERT_FALSE(std::filesystem::is_empty(folder_ / "tmp"));
  program.send(SIGINT);
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.status, 130) << result.err;
  EXPECT_TRUE(result.err.ends_with("stopped by Ctrl-C; the measurements are lost\n")) << result.err;
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "tmp"));
}

TEST_F(BenchCommand, MistakesAreNamedInOneLine) {
  const ProgramResult steps = run({"bench", "--config", "tiny.toml", "--sample-steps", "21"});
  EXPECT_EQ(steps.status, 2);
  EXPECT_TRUE(
      steps.err.starts_with("ddpm: error: --sample-steps 21: this network has 20 time steps"))
      << steps.err;
  const ProgramResult part = run({"bench", "--config", "tiny.toml", "--what", "trian"});
  EXPECT_EQ(part.status, 2);
  EXPECT_EQ(part.err,
            "ddpm: error: --what \"trian\" is unknown; use train, forward, sample, data, "
            "checkpoint\n");
  EXPECT_EQ(run({"bench", "--config", "tiny.toml", "--repeats", "0"}).status, 2);
  EXPECT_EQ(run({"bench", "--config", "tiny.toml", "--batch", "7"}).status, 2);  // accumulate = 2
}

}  // namespace
}  // namespace ddpm
