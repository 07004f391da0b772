#include "ddpm/kernels/device.h"
#include "tests/cli/error_line.h"
#include "tests/cli/fixture.h"
#include "tests/io/fixtures.h"

#include <map>

#include <nlohmann/json.hpp>

namespace ddpm {
namespace {

class Train : public CliTest {
 protected:
  nlohmann::json last_metrics(const std::string& run) const {
    const std::string text = io::read_text(folder_ / run / "metrics.jsonl");
    return nlohmann::json::parse(text.substr(text.rfind('\n', text.size() - 2) + 1));
  }
  ProgramResult trained(const std::string& out, const std::vector<std::string>& settings) {
    std::vector<std::string> command{"train", "--config", "tiny.toml", "--out", out};
    command.insert(command.end(), settings.begin(), settings.end());
    ProgramResult result = run(command);
    EXPECT_EQ(result.status, 0) << result.err;
    return result;
  }
  nlohmann::json state(const std::string& run, int64_t step) const {
    return nlohmann::json::parse(io::read_text(checkpoint(run, step) / "state.json"));
  }
};

// The log and the checkpoint name what was chosen, the run's config keeps "auto"; "mu" needs fp32.
TEST_F(Train, PrecisionAutoIsWhatThisProcessorMultiplies) {
  const std::string chosen = kernels::multiplies_bf16(torch::kCPU) ? "bf16" : "fp32";
  for (const auto& [prediction, precision] : {std::pair{"eps", chosen.c_str()}, {"mu", "fp32"}}) {
    const std::string name = prediction;
    train(name, {"--set", "train.steps=4", "--set", "train.precision=auto", "--set",
                 "diffusion.prediction=" + name});
    const std::string log = io::read_text(folder_ / name / "log.txt");
    EXPECT_NE(log.find(std::string("; ") + precision + " on "), std::string::npos) << log;
    EXPECT_NE(io::read_text(folder_ / name / "config.toml").find("precision = \"auto\""),
              std::string::npos);
    const ProgramResult info = run({"info", (folder_ / name).string()});
    EXPECT_NE(info.out.find(precision), std::string::npos) << info.out;
  }
}

TEST_F(Train, InitFromNamesWhatToSet) {
  train("run");
  const auto error = [&](const std::vector<std::string>& flags) {
    std::vector<std::string> command{"train", "--config",    "tiny.toml", "--out",
                                     "new",   "--init-from", "run"};
    command.insert(command.end(), flags.begin(), flags.end());
    const ProgramResult result = run(command);
    EXPECT_EQ(result.status, 2) << result.err;
    return error_line(result);
  };
  EXPECT_EQ(error({"--set", "data.image_size=16"}),
            "ddpm: error: --init-from run: is a network for 8x8 images, the data has 16x16; set "
            "data.image_size = 8");
  EXPECT_EQ(
      error({"--set", "data.channels=3"}),
      "ddpm: error: --init-from run: is a network for images of 1 channel, the data has 3; set "
      "data.channels = 1");
  EXPECT_EQ(error({"--set", "model.channels=16"}),
            "ddpm: error: --init-from run: has model.channels = 8, --set says 16; leave it out");
}

TEST_F(Train, AYoungAverageIsSaidWithTheWayOut) {
  const ProgramResult result =
      run({"train", "--config", "tiny.toml", "--out", "run", "--set", "ema.decay=0.999", "--set",
           "ema.warmup=false", "--set", "train.sample_every=12", "--set", "train.sample_count=4",
           "--set", "train.sample_steps=3"});
  ASSERT_EQ(result.status, 0) << result.err;
  const std::string young =
      "after 12 steps the average of decay 0.999 still is 99 % the weights that training began "
      "with: ";
  EXPECT_NE(result.err.find(young + "look at the grid of the raw weights"), std::string::npos)
      << result.err;
  EXPECT_NE(result.err.find("ddpm sample --ckpt run --steps 50 --ddim --weights raw"),
            std::string::npos)
      << result.err;
  EXPECT_NE(run({"info", "run"}).out.find(young), std::string::npos);
  const ProgramResult ema = run({"sample", "--ckpt", "run", "--num", "1", "--steps", "2"});
  EXPECT_EQ(ema.status, 0);
  EXPECT_NE(ema.err.find(young + "sample with --weights raw"), std::string::npos) << ema.err;
  const ProgramResult raw =
      run({"sample", "--ckpt", "run", "--num", "1", "--steps", "2", "--weights", "raw"});
  EXPECT_EQ(raw.status, 0);
  EXPECT_EQ(raw.err.find("still is"), std::string::npos) << raw.err;
}

TEST_F(Train, NamesThatAreNotUtf8AreEscapedInEveryFile) {
  const std::string latin = "caf\xE9";
  for (const std::string& label : {latin, std::string("bar")}) {
    for (int i = 0; i < 10; ++i) {
      fixtures::write(folder_ / ("set/" + label + "/" + std::to_string(i) + ".pgm"),
                      fixtures::flat_pnm(8, 8, 1, static_cast<uint8_t>(9 * i)));
    }
  }
  const std::string out = "run-" + latin;
  train(out, {"--set", "data.kind=folder", "--set", "data.path=set", "--set",
              "model.class_conditional=true"});
  train(out, {"--set", "data.kind=folder", "--set", "data.path=set", "--set",
              "model.class_conditional=true", "--set", "train.steps=13"});
  EXPECT_EQ(run({"info", out}).status, 0);
  const ProgramResult sampled = run({"sample", "--ckpt", out, "--num", "2", "--class", latin,
                                     "--out", "pictures-" + latin, "--steps", "2", "--json"});
  ASSERT_EQ(sampled.status, 0) << sampled.err;
  const auto json = nlohmann::json::parse(sampled.out);
  EXPECT_EQ(json.at("grid").get<std::string>().substr(0, 16), "pictures-caf\\xE9");
  EXPECT_EQ(json.at("classes"), nlohmann::json::array({1}));
  const ProgramResult likelihood = run({"eval", "likelihood", "--ckpt", out, "--num", "4", "--json",
                                        "--out", "likelihood-" + latin});
  ASSERT_EQ(likelihood.status, 0) << likelihood.err;
  EXPECT_TRUE(nlohmann::json::accept(likelihood.out)) << likelihood.out;
  // A config could not hold this path.
  std::filesystem::rename(folder_ / "set", folder_ / latin);
  const ProgramResult refused = run({"train", "--config", "tiny.toml", "--out", "new", "--set",
                                     "data.kind=folder", "--set", "data.path=" + latin});
  EXPECT_EQ(refused.status, 2);
  EXPECT_NE(refused.err.find("data.path: is \"caf\\xE9\", which is not UTF-8"), std::string::npos)
      << refused.err;
  EXPECT_FALSE(std::filesystem::exists(folder_ / "new"));
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
  const size_t at = result.err.find("to continue from step ");
  ASSERT_NE(at, std::string::npos) << result.err;
  const int64_t step = std::stoll(result.err.substr(at + 22));
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

// The numbers are those of `ddpm eval` for the checkpoint.
TEST_F(Train, MeasuresSamplesAndKeepsTheBestCheckpoint) {
  const std::vector<std::string> measured{
      "--set", "train.eval_every=4", "--set", "train.eval_num=8", "--set", "train.sample_steps=5"};
  const ProgramResult first = trained("run", measured);
  EXPECT_NE(first.err.find("step 4: Frechet distance"), std::string::npos) << first.err;
  std::map<int64_t, double> found;
  int64_t best = 0;
  const auto read = [&] {
    found.clear();
    std::ifstream lines(folder_ / "run/quality.jsonl");
    for (std::string line; std::getline(lines, line);) {
      const auto json = nlohmann::json::parse(line);
      found[json.at("step")] = json.at("frechet");
      if (json.at("best").get<bool>()) best = json.at("step");
    }
  };
  read();
  ASSERT_EQ(found.size(), 3u);
  for (const auto& [step, frechet] : found) {
    const ProgramResult eval = run({"eval", "--ckpt", checkpoint("run", step).string(), "--ddim",
                                    "--steps", "5", "--num", "8", "--json"});
    EXPECT_EQ(nlohmann::json::parse(eval.out).at("frechet").get<double>(), frechet) << eval.err;
    EXPECT_GE(frechet, found.at(best));
  }
  EXPECT_EQ(io::read_file(folder_ / "run/best/model.safetensors"),
            io::read_file(checkpoint("run", best) / "model.safetensors"));
  EXPECT_EQ(run({"sample", "--ckpt", "run/best", "--steps", "2", "--num", "1"}).status, 0);

  // Measuring changes no step, and a resumed run measures what is missing.
  train("plain", {});
  expect_same_tensors(checkpoint("plain", 12), checkpoint("run", 12));
  const std::map<int64_t, double> whole = found;
  std::filesystem::remove_all(checkpoint("run", 12));
  train("run", measured);
  read();
  EXPECT_EQ(found, whole);
}

TEST_F(Train, EndsIfSamplesImproveNoMore) {
  const std::vector<std::string> patient{
      "--set", "train.eval_every=2",   "--set", "train.eval_num=8",
      "--set", "train.sample_steps=2", "--set", "train.eval_patience=1",
      "--set", "train.steps=1000",     "--set", "optimizer.lr=1e-12"};
  const ProgramResult first = trained("run", patient);
  EXPECT_NE(first.err.find("stopping: no better samples in 1 measurement"), std::string::npos)
      << first.err;
  const ProgramResult again = trained("run", patient);
  EXPECT_NE(again.err.find("stopping: no better samples"), std::string::npos) << again.err;
}

}  // namespace
}  // namespace ddpm
