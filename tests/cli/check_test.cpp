#include "tests/cli/fixture.h"

#include <algorithm>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace ddpm {
namespace {

/// A network of 8x8 grey images.
class Check : public CliTest {
 protected:
  static constexpr int64_t kSteps = 400;  // enough that it predicts something
  void train_well() {
    train("runs/tiny", {"--set", "train.steps=" + std::to_string(kSteps), "--set",
                        "diffusion.timesteps=100", "--set", "diffusion.beta_end=0.2", "--set",
                        "train.label_dropout=0.1", "--set", "model.class_conditional=true"});
  }
  static nlohmann::json row_of(const nlohmann::json& json, const std::string& name) {
    for (const auto& row : json.at("checks"))
      if (row.at("name") == name) return row;
    ADD_FAILURE() << name << " is missing in " << json.dump(1);
    return {};
  }
  void refused(std::vector<std::string> flags, int status, const std::string& why) {
    const ProgramResult result = run(flags);
    EXPECT_EQ(result.status, status) << result.err;
    EXPECT_NE(result.err.find(why), std::string::npos) << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }
};

TEST_F(Check, ATrainedNetworkPassesAndTheTableNamesEveryRow) {
  train_well();
  const ProgramResult table = run({"check", "--steps", "4"});
  EXPECT_EQ(table.status, 0) << table.out << table.err;
  const ProgramResult json = run({"check", "--steps", "4", "--json"});
  ASSERT_EQ(json.status, 0) << json.err;
  const auto found = nlohmann::json::parse(json.out);
  EXPECT_EQ(found.at("failed"), 0);
  for (const auto& row : found.at("checks"))
    EXPECT_NE(table.out.find(row.at("name").get<std::string>()), std::string::npos) << row;
  EXPECT_EQ(row_of(found, "euler against ddim").at("found"), 0.0);
  EXPECT_EQ(row_of(found, "numbers that differ between two equal calls").at("found"), 0.0);
  EXPECT_EQ(row_of(found, "euler against ddim").at("low"), 0.0);
}

TEST_F(Check, TheVarianceIsCheckedOnceItWasMeasured) {
  train_well();
  const auto verdict = [&](const std::string& name) {
    const ProgramResult result = run({"check", "--steps", "2", "--num", "2", "--json"});
    const auto row = row_of(nlohmann::json::parse(result.out), name);
    return row.at("verdict").get<std::string>() + ": " + row.at("note").get<std::string>();
  };
  EXPECT_NE(verdict("sigma*^2 within its bounds").find("ddpm estimate --ckpt"), std::string::npos);
  ASSERT_EQ(run({"estimate", "--num", "40"}).status, 0);
  EXPECT_EQ(verdict("smallest sigma*^2 over its lower bound"), "ok: ");
}

// The same weights, described as a network that predicts something else.
TEST_F(Check, AWrongPredictionIsOneLineWithStatusOne) {
  train_well();
  namespace fs = std::filesystem;
  const fs::path run_folder = checkpoint("runs/tiny", kSteps);
  std::string text = io::read_text(run_folder / "model.toml");
  const std::string right = "prediction = \"eps\"";
  ASSERT_NE(text.find(right), std::string::npos) << text;
  text.replace(text.find(right), right.size(), "prediction = \"x0\"");
  fs::create_directory(folder_ / "other");
  io::write_file_atomic(folder_ / "other/model.toml", text);
  fs::copy(run_folder / "ema.safetensors", folder_ / "other/weights.safetensors");
  const ProgramResult result = run({"check", "--ckpt", "other/weights.safetensors", "--json"});
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("error if read as x0, over the best reading"), std::string::npos)
      << result.err;
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_GE(json.at("failed"), 1);
  const auto row = row_of(json, "error if read as x0, over the best reading");
  EXPECT_EQ(row.at("verdict"), "FAILED");
  EXPECT_NE(row.at("note").get<std::string>().find("seems to predict"), std::string::npos) << row;
}

TEST_F(Check, WrongFlagsAreOneLine) {
  train("runs/tiny");
  refused({"check", "--num", "1"}, 2, "--num");
  refused({"check", "--steps", "1"}, 2, "--steps");
  refused({"check", "--stepz", "1"}, 2, "--stepz");
  refused({"check", "--batch", "4"}, 2, "--batch");
  refused({"check", "--ckpt", "nothing"}, 1, "nothing");
  refused({"check", "--class", "nobody"}, 2, "--class needs");
}

}  // namespace
}  // namespace ddpm
