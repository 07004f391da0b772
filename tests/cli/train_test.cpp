#include "ddpm/kernels/norm_convolution.h"
#include "tests/cli/fixture.h"
#include "tests/io/fixtures.h"

#include <nlohmann/json.hpp>

namespace ddpm {
namespace {

class Train : public CliTest {
 protected:
  nlohmann::json last_metrics(const std::string& run) const {
    const std::string text = io::read_text(folder_ / run / "metrics.jsonl");
    return nlohmann::json::parse(text.substr(text.rfind('\n', text.size() - 2) + 1));
  }
  nlohmann::json state(const std::string& run, int64_t step) const {
    return nlohmann::json::parse(io::read_text(checkpoint(run, step) / "state.json"));
  }
};

TEST_F(Train, DryRunMeasuresAndWritesNothing) {
  const ProgramResult result = run({"train", "--config", "tiny.toml", "--dry-run"});
  ASSERT_EQ(result.status, 0) << result.err;
  for (const char* text : {"would start at step 0", "parameters", "images/s", "memory", "12 steps",
                           "held out     5 images", "nothing was trained"}) {
    EXPECT_NE(result.out.find(text), std::string::npos) << text << " in " << result.out;
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "runs"));
}

TEST_F(Train, DryRunTellsWhereBf16IsFasterOnThisProcessor) {
  const auto tells = [&](const std::string& precision) {
    const ProgramResult result =
        run({"train", "--config", "tiny.toml", "--dry-run", "--device", "cpu", "--set",
             "model.channels=32", "--set", "train.precision=" + precision});
    EXPECT_EQ(result.status, 0) << result.err;
    return result.out.find("train.precision = \"bf16\"") != std::string::npos;
  };
  EXPECT_EQ(tells("fp32"), kernels::cpu_has_tiles());
  EXPECT_FALSE(tells("bf16"));
}

TEST_F(Train, DryRunOfARunSaysWhereItWouldGoOnAndLeavesItAlone) {
  train("run", {"--set", "train.steps=8"});
  const std::string log = io::read_text(folder_ / "run/log.txt");
  const ProgramResult result = run({"train", "--config", "tiny.toml", "--out", "run", "--dry-run"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.out.find("would go on from step 8"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("4 steps take"), std::string::npos) << result.out;
  EXPECT_EQ(io::read_text(folder_ / "run/log.txt"), log);
  EXPECT_FALSE(std::filesystem::exists(checkpoint("run", 12)));
}

TEST_F(Train, DryRunFindsWhatTrainingWouldFind) {
  const ProgramResult result = run({"train", "--config", "tiny.toml", "--dry-run", "--set",
                                    "data.kind=folder", "--set", "data.path=nowhere"});
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("nowhere"), std::string::npos) << result.err;
}

TEST_F(Train, HeldOutLossIsLoggedForRawAndAveragedWeights) {
  train("run");
  const auto line = last_metrics("run");
  EXPECT_GT(line.at("holdout_loss").get<double>(), 0.0);
  EXPECT_GT(line.at("holdout_loss_ema").get<double>(), 0.0);
  EXPECT_EQ(line.at("eta_s"), 0.0);
  EXPECT_EQ(state("run", 12).at("dataset_size"), 45);
}

TEST_F(Train, HoldingOutEverythingIsAnErrorAtTheKey) {
  const ProgramResult result = run({"train", "--config", "tiny.toml", "--set", "data.holdout=50"});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("data.holdout: is 50, but there are only 50 images"), std::string::npos)
      << result.err;
}

TEST_F(Train, SampleGridsShowRawWeightsAndEveryAverage) {
  train("run", {"--set", "train.sample_every=6", "--set", "train.sample_count=4", "--set",
                "train.sample_steps=3"});
  for (const char* name : {"raw", "ema", "ema-2"}) {
    for (const char* step : {"000000006", "000000012"}) {
      const auto grid =
          folder_ / "run/samples" / (std::string("step-") + step + "-" + name + ".png");
      EXPECT_TRUE(std::filesystem::exists(grid)) << grid;
    }
  }
}

TEST_F(Train, AnImageThatCannotBeReadStopsTrainingAfterASave) {
  for (int i = 0; i < 40; ++i) {
    fixtures::write(folder_ / ("set/" + std::to_string(10 + i) + ".pgm"),
                    fixtures::flat_pnm(8, 8, 1, 5 * i));
  }
  fixtures::Bytes cut = fixtures::flat_pnm(300, 300, 1, 10);
  cut.resize(70000);  // its header is sound: only decoding finds out
  fixtures::write(folder_ / "set/49.pgm", cut);
  const std::vector<std::string> command{
      "train",
      "--config",
      "tiny.toml",
      "--out",
      "run",
      "--set",
      "data.kind=folder",
      "--set",
      "data.path=set",
      "--set",
      "data.image_size=8",
      "--set",
      "data.holdout=0",
      "--set",
      "train.checkpoint_every=1000",
      "--set",
      "run.seed=1"};  // the damaged one is not in the first batch
  const ProgramResult result = run(command);
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("set/49.pgm: is not a readable image"), std::string::npos)
      << result.err;
  const size_t at = result.err.find("goes on from step ");
  ASSERT_NE(at, std::string::npos) << result.err;
  const int64_t step = std::stoll(result.err.substr(at + 18));
  EXPECT_TRUE(std::filesystem::exists(checkpoint("run", step) / "MANIFEST"));
  fixtures::write(folder_ / "set/49.pgm", fixtures::flat_pnm(8, 8, 1, 1));  // mended
  const ProgramResult again = run(command);
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_NE(again.err.find("(step " + std::to_string(step) + ","), std::string::npos) << again.err;
}

// Adam moves every weight by about the learning rate, so that the second step overflows.
const std::vector<std::string> kExploding{
    "--set", "optimizer.lr=1e30",     "--set", "optimizer.warmup_steps=0",
    "--set", "train.max_bad_steps=8", "--set", "train.checkpoint_every=1"};

TEST_F(Train, NonFiniteGradientsAreSkippedAndStopTrainingWithTheCheckpointIntact) {
  std::vector<std::string> command{"train", "--config", "tiny.toml", "--out", "run"};
  command.insert(command.end(), kExploding.begin(), kExploding.end());
  const ProgramResult result = run(command);
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("not finite for"), std::string::npos) << result.err;
  EXPECT_EQ(run({"info", "run"}).status, 0);
}

TEST_F(Train, SamplesThatAreNotFiniteAreWarnedOfWhileTrainingGoesOn) {
  std::vector<std::string> more = kExploding;
  more.insert(more.end(), {"--set", "train.steps=4", "--set", "train.sample_every=2", "--set",
                           "train.sample_count=4", "--set", "train.sample_steps=3"});
  std::vector<std::string> command{"train", "--config", "tiny.toml", "--out", "run"};
  command.insert(command.end(), more.begin(), more.end());
  const ProgramResult result = run(command);
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.err.find("no samples of the raw weights: image 0 is not finite after step 1"),
            std::string::npos)
      << result.err;
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run/samples/step-000000004-raw.png"));
}

TEST_F(Train, TheWatchdogsCountSurvivesAResume) {
  std::vector<std::string> more = kExploding;
  more.insert(more.end(), {"--set", "train.log_every=1", "--set", "train.steps=7"});
  train("run", more);
  const int64_t in_a_row = state("run", 7).at("skipped_in_a_row");
  ASSERT_GT(in_a_row, 0);
  EXPECT_EQ(state("run", 7).at("skipped_steps"), in_a_row);
  more.back() = "train.steps=30";
  more.insert(more.begin(), {"train", "--config", "tiny.toml", "--out", "run"});
  const ProgramResult result = run(more);
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("step " + std::to_string(7 + 8 - in_a_row) + ": the gradient"),
            std::string::npos)
      << result.err;
}

}  // namespace
}  // namespace ddpm
