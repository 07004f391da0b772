#include "ddpm/io/file.h"
#include "tests/cli/fixture.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace ddpm {
namespace {

class Info : public CliTest {};

// The lists of keys are the only source: what a checkpoint holds, info --json prints.
TEST_F(Info, JsonHasEveryKeyOfTheCheckpoint) {
  train("runs/tiny");
  const ProgramResult result = run({"info", "runs/tiny", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const auto json = nlohmann::ordered_json::parse(result.out);
  const std::filesystem::path checkpoint = folder_ / json.at("path").get<std::string>();
  const std::string model = io::read_text(checkpoint / "model.toml");
  const std::string config = io::read_text(checkpoint / "config.toml");
  EXPECT_EQ(json.at("weights"), "ema");
  size_t keys = 0;
  for (const char* section : {"image", "model", "diffusion"}) {
    EXPECT_NE(model.find(fmt::format("[{}]\n", section)), std::string::npos);
    for (const auto& [key, value] : json.at(section).items()) {
      EXPECT_NE(model.find(fmt::format("\n{} = ", key)), std::string::npos) << section << key;
      ++keys;
    }
  }
  EXPECT_EQ(std::count(model.begin(), model.end(), '='), keys);
  const std::string sample = config.substr(config.find("\n[sample]\n"));
  for (const auto& [key, value] : json.at("sample").items())
    EXPECT_NE(sample.find(fmt::format("\n{} = ", key)), std::string::npos) << key;
}

TEST_F(Info, JsonOfAnExportIsThatOfItsCheckpoint) {
  train("runs/tiny");
  ASSERT_EQ(run({"convert", "runs/tiny", "copy.safetensors", "--to", "safetensors"}).status, 0);
  auto own = nlohmann::json::parse(run({"info", "runs/tiny", "--json"}).out);
  auto copy = nlohmann::json::parse(run({"info", "copy.safetensors", "--json"}).out);
  for (const char* section : {"image", "model", "diffusion", "sample", "parameters"})
    EXPECT_EQ(own.at(section), copy.at(section)) << section;
}

TEST_F(CliTest, WatchShowsAFinishedRunAndEnds) {
  train("runs/tiny");
  const ProgramResult plain = run({"watch", "runs/tiny"});
  EXPECT_EQ(plain.status, 0) << plain.err;
  EXPECT_TRUE(plain.out.starts_with("finished, step 12/12, loss ")) << plain.out;
  const ProgramResult once = run({"watch", "runs/tiny", "--once"});
  EXPECT_NE(once.out.find("checkpoint at step 12"), std::string::npos) << once.out;
  expect_error({"watch", "runs/none"}, 1, "is not a training run");
}

TEST_F(Info, DescribesARunAndFindsDamage) {
  train("runs/tiny");
  const ProgramResult good = run({"info", "runs/tiny"});
  EXPECT_EQ(good.status, 0) << good.err;
  EXPECT_NE(good.out.find("checksums      all match"), std::string::npos) << good.out;
  EXPECT_NE(good.out.find("96 images seen"), std::string::npos) << good.out;
  std::filesystem::resize_file(checkpoint("runs/tiny", 12) / "state.json", 10);
  const ProgramResult bad = run({"info", checkpoint("runs/tiny", 12)});
  EXPECT_EQ(bad.status, 1);
  EXPECT_NE(bad.out.find("state.json"), std::string::npos) << bad.out;
}

}  // namespace
}  // namespace ddpm
