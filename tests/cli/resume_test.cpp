#include "tests/cli/fixture.h"

#include <chrono>
#include <random>
#include <thread>

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

TEST_F(Resume, ASignalBeforeTheFirstStepEndsWithStatus75AndLosesNothing) {
  train("whole");
  train("run");
  std::filesystem::remove_all(checkpoint("run", 12));
  Program program(folder_.path(), {"train", "--config", "tiny.toml", "--out", "run"});
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  program.send(SIGTERM);  // while it starts, or reads the data or the checkpoint
  const ProgramResult result = program.wait();
  EXPECT_TRUE(result.status == 75 || result.status == 128 + SIGTERM || result.status == 0)
      << result.err;
  train("run");
  expect_same_tensors(checkpoint("whole", 12), checkpoint("run", 12));
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
  EXPECT_NE(network.err.find("describes another network"), std::string::npos) << network.err;
  const ProgramResult batch =
      run({"train", "--config", "tiny.toml", "--out", "run", "--set", "train.batch_size=4"});
  EXPECT_EQ(batch.status, 1);
  EXPECT_NE(batch.err.find("train.batch_size 8, the config says 4"), std::string::npos)
      << batch.err;
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
