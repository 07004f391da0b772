#include "tests/cli/fixture.h"
#include "tests/io/fixtures.h"

#include <chrono>
#include <cmath>
#include <fstream>
#include <random>
#include <thread>

#include <nlohmann/json.hpp>
#include <signal.h>

namespace ddpm {
namespace {

class Resume : public CliTest {};

TEST_F(Resume, TwelveStepsInOneGoTwiceAreBitEqual) {
  train("a");
  train("b");
  expect_same_tensors(checkpoint("a", 12), checkpoint("b", 12));
}

TEST_F(Resume, DataKeptOnTheDeviceGivesTheSameRun) {
  train("a");
  train("b", {"--set", "data.resident=always"});
  std::filesystem::remove_all(checkpoint("b", 12));
  train("b", {"--set", "data.resident=always"});  // goes on from step 8
  expect_same_tensors(checkpoint("a", 12), checkpoint("b", 12));
}

// Warm-up, stable, decay: the end may be chosen later, and an interrupted end goes on as it began.
TEST_F(Resume, FinishEndsARunFromWhereItIs) {
  const std::vector<std::string> stable{"--set", "optimizer.decay=stable", "--set",
                                        "optimizer.decay_steps=6"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), stable.begin(), stable.end());
    return more;
  };
  train("run", with({"--set", "train.steps=8"}));
  train("run", with({"--finish", "--set", "train.steps=1000"}));  // 8 + 6
  std::ifstream lines(folder_ / "run/metrics.jsonl");
  double last_rate = 1.0;
  int64_t last_step = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line);
    last_step = json.at("step");
    last_rate = json.at("lr");
  }
  EXPECT_EQ(last_step, 14);
  EXPECT_NEAR(last_rate, 1e-3 * (1 - std::sqrt(5.0 / 6.0)), 1e-9);
  // The same command after an interruption.
  std::filesystem::remove_all(checkpoint("run", 14));
  train("run", with({"--finish", "--set", "train.steps=1000"}));
  EXPECT_TRUE(std::filesystem::exists(checkpoint("run", 14)));
  EXPECT_FALSE(std::filesystem::exists(checkpoint("run", 18)));

  const auto refused = [&](std::vector<std::string> flags, const std::string& why) {
    flags.insert(flags.begin(), {"train", "--config", "tiny.toml", "--out"});
    const ProgramResult result = run(flags);
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_NE(result.err.find(why), std::string::npos) << result.err;
  };
  refused(with({"run"}), "is being finished: use --finish again, or delete run/finish.json");
  refused({"run", "--finish"}, "needs optimizer.decay");
  refused(with({"none", "--finish"}), "holds no checkpoint to finish from");
}

TEST_F(Resume, AnotherSeedGivesOtherWeights) {
  train("a");
  train("b", {"--set", "run.seed=1"});
  EXPECT_NE(io::read_file(checkpoint("a", 12) / "model.safetensors"),
            io::read_file(checkpoint("b", 12) / "model.safetensors"));
}

TEST_F(Resume, FromAnEarlierCheckpointIsBitEqualToUninterrupted) {
  train("whole");
  train("again");
  std::filesystem::remove_all(checkpoint("again", 12));
  std::filesystem::remove_all(checkpoint("again", 8));
  train("again");  // goes on from step 4
  expect_same_tensors(checkpoint("whole", 12), checkpoint("again", 12));
}

TEST_F(Resume, AfterSigkillAtRandomMomentsIsBitEqualToUninterrupted) {
  train("whole", {"--set", "train.steps=40"});
  std::mt19937 random(1);
  const std::vector<std::string> command{"train",  "--config", "tiny.toml",     "--out",
                                         "killed", "--set",    "train.steps=40"};
  int killed = 0;
  for (int round = 0; round < 6; ++round) {
    Program program(folder_.path(), command);
    if (!program.wait_for_message("network:")) break;  // it ended: nothing left to kill
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 250));
    program.send(SIGKILL);
    killed += program.wait().status == 128 + SIGKILL;
  }
  EXPECT_GT(killed, 0) << "no run was killed: the test has shown nothing";
  train("killed", {"--set", "train.steps=40"});
  expect_same_tensors(checkpoint("whole", 40), checkpoint("killed", 40));
}

TEST_F(Resume, SigtermSavesAndSaysSoWithStatus75AndTheSameCommandGoesOn) {
  const std::vector<std::string> more{"--set", "train.steps=400", "--set",
                                      "train.checkpoint_every=1000"};
  train("whole", more);
  std::vector<std::string> command{"train", "--config", "tiny.toml", "--out", "stopped"};
  command.insert(command.end(), more.begin(), more.end());
  Program program(folder_.path(), command);
  ASSERT_TRUE(program.wait_for_message("network:"));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  program.send(SIGTERM);
  const ProgramResult stopped = program.wait();
  EXPECT_EQ(stopped.status, 75) << stopped.err;
  EXPECT_NE(stopped.err.find("stopped by SIGTERM and saved at step"), std::string::npos)
      << stopped.err;
  train("stopped", more);
  expect_same_tensors(checkpoint("whole", 400), checkpoint("stopped", 400));
}

TEST_F(Resume, ATimeLimitSavesAndStopsBeforeItWithStatus75) {
  const auto begin = std::chrono::steady_clock::now();
  const ProgramResult result =
      run({"train", "--config", "tiny.toml", "--out", "limited", "--set", "train.steps=100000000",
           "--set", "train.checkpoint_every=100000000", "--time-limit", "4s"});
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(result.status, 75) << result.err;
  EXPECT_LT(took.count(), 20.0) << "4 s, and what a busy machine takes to start and end it";
  EXPECT_NE(result.err.find("stopped by the time limit of 4.0 s, with "), std::string::npos)
      << result.err;
  int checkpoints = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "limited/checkpoints"))
    checkpoints += entry.path().filename().string().starts_with("step-");
  EXPECT_EQ(checkpoints, 1);
}

TEST_F(Resume, SavesInTheForegroundAreTheSameFiles) {
  train("background");
  train("foreground", {"--set", "train.background_saves=false"});
  for (const int64_t step : {4, 8, 12})
    expect_same_tensors(checkpoint("background", step), checkpoint("foreground", step));
}

TEST_F(Resume, MicroBatchesChosenByTheProgramChangeNothing) {
  train("fixed");
  const ProgramResult result =
      run({"train", "--config", "tiny.toml", "--out", "auto", "--set", "train.micro_batch=auto"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.err.find("4 images at a time fit into the memory of cpu"), std::string::npos)
      << result.err;
  expect_same_tensors(checkpoint("fixed", 12), checkpoint("auto", 12));
}

TEST_F(Resume, MetricsHaveOneLineAStepAfterAResume) {
  train("run");
  std::filesystem::remove_all(checkpoint("run", 12));
  train("run");
  const std::string text = io::read_text(folder_ / "run/metrics.jsonl");
  for (const char* step : {"\"step\":3,", "\"step\":6,", "\"step\":9,", "\"step\":12,"}) {
    const size_t first = text.find(step);
    ASSERT_NE(first, std::string::npos) << step << " in " << text;
    EXPECT_EQ(text.find(step, first + 1), std::string::npos) << step << " twice in " << text;
  }
}

TEST_F(Resume, DamagedNewestIsNamedAndTheOneBeforeIsUsed) {
  train("whole");
  train("run");
  const auto weights = checkpoint("run", 12) / "model.safetensors";
  std::filesystem::resize_file(weights, std::filesystem::file_size(weights) - 1);
  const ProgramResult result = run({"train", "--config", "tiny.toml", "--out", "run"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.err.find("step-000000012 is damaged (model.safetensors"), std::string::npos)
      << result.err;
  EXPECT_NE(result.err.find("step-000000008 (step 8,"), std::string::npos) << result.err;
  expect_same_tensors(checkpoint("whole", 12), checkpoint("run", 12));
}

TEST_F(Resume, DamagedCheckpointAskedForByPathIsAnError) {
  train("run");
  const auto weights = checkpoint("run", 12) / "ema.safetensors";
  std::filesystem::resize_file(weights, 100);
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"train", "--config", "tiny.toml", "--out", "new", "--resume",
                                 checkpoint("run", 12)},
        std::vector<std::string>{"sample", "--ckpt", checkpoint("run", 12)}}) {
    const ProgramResult result = run(command);
    EXPECT_EQ(result.status, 1) << result.err;
    EXPECT_NE(result.err.find("ema.safetensors"), std::string::npos) << result.err;
  }
}

TEST_F(Resume, NeverRefusesAFolderWithCheckpoints) {
  train("run");
  const ProgramResult result =
      run({"train", "--config", "tiny.toml", "--out", "run", "--resume", "never"});
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("already holds checkpoints"), std::string::npos) << result.err;
}

TEST_F(Resume, AChangedNetworkOrBatchIsRefused) {
  train("run");
  const ProgramResult network =
      run({"train", "--config", "tiny.toml", "--out", "run", "--set", "model.channels=16"});
  EXPECT_EQ(network.status, 1);
  EXPECT_NE(network.err.find("run: was trained with model.channels = 8, the config says 16; change "
                             "it back, or start a new "
                             "run with --out"),
            std::string::npos)
      << network.err;
  const ProgramResult batch =
      run({"train", "--config", "tiny.toml", "--out", "run", "--set", "train.batch_size=4"});
  EXPECT_EQ(batch.status, 1);
  EXPECT_NE(batch.err.find("train.batch_size = 8, the config says 4"), std::string::npos)
      << batch.err;
}

TEST_F(Resume, TheSameConfigHasNothingToSay) {
  train("run");
  std::filesystem::remove_all(checkpoint("run", 12));
  const ProgramResult result = run({"train", "--config", "tiny.toml", "--out", "run"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.err.find("changed"), std::string::npos) << result.err;
  EXPECT_EQ(result.err.find("warning"), std::string::npos) << result.err;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "run"))
    EXPECT_FALSE(entry.path().filename().string().starts_with("config-")) << entry.path();
}

TEST_F(Resume, OtherSettingsAreNamedAndTheFormerConfigStaysBeside) {
  train("run");
  const std::string former = io::read_text(checkpoint("run", 12) / "config.toml");
  const std::vector<std::string> command{
      "train", "--config",          "tiny.toml", "--out",          "run", "--set", "train.steps=16",
      "--set", "optimizer.lr=1e-5", "--set",     "data.flip=false"};
  const ProgramResult result = run(command);
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.err.find("changed since step 12: data.flip true -> false, train.steps 12 -> 16, "
                            "optimizer.lr 0.001 -> 1e-05"),
            std::string::npos)
      << result.err;
  EXPECT_NE(result.err.find("the learning rate goes from "), std::string::npos) << result.err;
  EXPECT_EQ(io::read_text(folder_ / "run/config-until-step-000000012.toml"), former);
  EXPECT_NE(io::read_text(folder_ / "run/config.toml").find("lr = 1e-05"), std::string::npos);
  const ProgramResult finished = run(command);
  EXPECT_EQ(finished.err.find("warning"), std::string::npos) << finished.err;
}

// A run of the version that wrote neither the fingerprint of the data nor the keys that came since.
TEST_F(Resume, ARunOfAFormerVersionGoesOnWithoutAWord) {
  const std::filesystem::path golden =
      std::filesystem::path(DDPM_SOURCE_DIR) / "tests/golden/former_run";
  std::filesystem::copy(golden, folder_ / "former", std::filesystem::copy_options::recursive);
  const std::vector<std::string> command{"train",  "--config", "former/run.toml", "--out",
                                         "former", "--set",    "train.steps=8"};
  const ProgramResult result = run(command);
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.err.find("resumed from former/checkpoints/step-000000004 (step 4, 16 images"),
            std::string::npos)
      << result.err;
  EXPECT_NE(result.err.find("changed since step 4: train.steps 4 -> 8\n"), std::string::npos)
      << result.err;
  EXPECT_TRUE(std::filesystem::exists(checkpoint("former", 8) / "MANIFEST"));
  const ProgramResult dry =
      run({"train", "--config", "former/run.toml", "--out", "former", "--resume",
           "former/checkpoints/step-000000008", "--dry-run", "--set", "train.steps=8"});
  EXPECT_EQ(dry.status, 0) << dry.err;
}

TEST_F(Resume, TheVeryConfigOfAFormerVersionChangesNothing) {
  const std::filesystem::path golden =
      std::filesystem::path(DDPM_SOURCE_DIR) / "tests/golden/former_run";
  std::filesystem::copy(golden, folder_ / "former", std::filesystem::copy_options::recursive);
  const ProgramResult result = run({"train", "--config", "former/run.toml", "--out", "former"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.err.find("nothing to do"), std::string::npos) << result.err;
  EXPECT_EQ(result.err.find("warning"), std::string::npos) << result.err;
  EXPECT_FALSE(std::filesystem::exists(folder_ / "former/config-until-step-000000004.toml"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "former/config-given-step-000000004.toml"));
}

TEST_F(Resume, OtherImagesOfTheSameNumberAreSaid) {
  for (int i = 0; i < 20; ++i) {
    fixtures::write(folder_ / ((i < 10 ? "set/a/" : "set/b/") + std::to_string(i) + ".pgm"),
                    fixtures::flat_pnm(8, 8, 1, static_cast<uint8_t>(5 * i)));
  }
  const std::vector<std::string> data{"--set", "data.kind=folder", "--set", "data.image_size=8",
                                      "--set"};
  const auto with = [&](std::vector<std::string> words, const std::string& path) {
    words.insert(words.end(), data.begin(), data.end());
    words.push_back("data.path=" + path);
    return words;
  };
  train("run", with({}, "set"));
  std::filesystem::remove_all(checkpoint("run", 12));
  const std::vector<std::string> command{"train", "--config", "tiny.toml", "--out", "run"};
  std::filesystem::rename(folder_ / "set/b", folder_ / "set/c");
  const ProgramResult other = run(with(command, "set"));
  EXPECT_EQ(other.status, 0) << other.err;
  EXPECT_NE(other.err.find("changed since step 8: the images of the data"), std::string::npos)
      << other.err;
  std::filesystem::remove_all(checkpoint("run", 12));
  std::filesystem::rename(folder_ / "set/c", folder_ / "set/b");
  std::filesystem::rename(folder_ / "set", folder_ / "moved");
  const ProgramResult moved = run(with(command, "moved"));
  EXPECT_EQ(moved.status, 0) << moved.err;
  EXPECT_NE(moved.err.find("changed since step 8: data.path \"set\" -> \"moved\"\n"),
            std::string::npos)
      << moved.err;
}

TEST_F(Resume, AConfigThatAUserWroteIsNotReplaced) {
  std::filesystem::create_directories(folder_ / "mine");
  const std::string written = "# mine\n" + io::read_text(folder_ / "tiny.toml");
  io::write_file_synced(folder_ / "mine/config.toml", written);
  const ProgramResult refused = run({"train", "--config", "mine/config.toml", "--out", "mine"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.err.find("mine/config.toml: already exists and is not that of a run"),
            std::string::npos)
      << refused.err;
  EXPECT_EQ(io::read_text(folder_ / "mine/config.toml"), written);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "mine/log.txt"));
  // In a run it may be edited; what was written stays beside the effective one.
  train("run");
  const std::string edited = "# lower\n" + io::read_text(folder_ / "run/config.toml");
  io::write_file_synced(folder_ / "run/config.toml", edited);
  const ProgramResult again = run({"train", "--config", "run/config.toml"});
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_EQ(io::read_text(folder_ / "run/config-given-step-000000012.toml"), edited);
}

TEST_F(Resume, InitFromOnARunThatExistsSaysThatItIsNotTaken) {
  train("first");
  train("run", {"--init-from", "first", "--set", "train.steps=4"});
  const ProgramResult again = run({"train", "--config", "tiny.toml", "--out", "run", "--init-from",
                                   "first", "--set", "train.steps=8"});
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_NE(again.err.find("--init-from is ignored"), std::string::npos) << again.err;
}

TEST_F(Resume, ASecondProcessOnTheSameRunIsRefused) {
  Program first(folder_.path(),
                {"train", "--config", "tiny.toml", "--out", "run", "--set", "train.steps=100000"});
  ASSERT_TRUE(first.wait_for_message("network:"));
  const ProgramResult second = run({"train", "--config", "tiny.toml", "--out", "run"});
  EXPECT_EQ(second.status, 1);
  EXPECT_NE(second.err.find("in use by process"), std::string::npos) << second.err;
}

TEST_F(Resume, InitFromBeginsWithTheAveragedWeightsAndTheNetworkOfAnotherRun) {
  train("first");
  // Other data, and no word of the network: it is the first run's. A rate of nearly 0 keeps it.
  io::write_file_synced(folder_ / "fine.toml", std::string_view(R"([data]
kind = "procedural"
size = 20
image_size = 8
channels = 1
[train]
steps = 2
batch_size = 2
[optimizer]
lr = 1e-30
)"));
  const std::vector<std::string> command{"train", "--config",    "fine.toml", "--out",
                                         "fine",  "--init-from", "first"};
  const ProgramResult result = run(command);
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.err.find("starting at step 0 from given weights"), std::string::npos);
  for (const char* file : {"model.safetensors", "ema.safetensors"}) {
    EXPECT_EQ(io::read_file(checkpoint("fine", 2) / file),
              io::read_file(checkpoint("first", 12) / "ema.safetensors"))
        << file;
  }
  const ProgramResult again = run(command);
  EXPECT_EQ(again.status, 0);
  EXPECT_NE(again.err.find("nothing to do"), std::string::npos) << again.err;
  const ProgramResult missing = run(
      {"train", "--config", "fine.toml", "--out", "other", "--init-from", "nowhere.safetensors"});
  EXPECT_NE(missing.status, 0);
  EXPECT_NE(missing.err.find("nowhere.safetensors"), std::string::npos) << missing.err;
  EXPECT_FALSE(std::filesystem::exists(folder_ / "other"));
}

TEST_F(Resume, TheEffectiveConfigRepeatsTheRun) {
  train("a");
  const ProgramResult result = run({"train", "--config", "a/config.toml", "--out", "b"});
  ASSERT_EQ(result.status, 0) << result.err;
  expect_same_tensors(checkpoint("a", 12), checkpoint("b", 12));
}

}  // namespace
}  // namespace ddpm
