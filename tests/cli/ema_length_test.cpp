#include "ddpm/io/file.h"
#include "ddpm/io/safetensors.h"
#include "tests/cli/fixture.h"

#include <nlohmann/json.hpp>
#include <signal.h>

namespace ddpm {
namespace {

namespace fs = std::filesystem;

// The flags that keep averages of two lengths, with a snapshot after every step.
std::vector<std::string> tracked(std::vector<std::string> more = {}) {
  more.insert(more.end(), {"--set", "ema.power_lengths=[0.05, 0.1]", "--set",
                           "ema.snapshot_every=1", "--set", "train.steps=24"});
  return more;
}

class EmaLength : public CliTest {
 protected:
  nlohmann::json sample(std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"sample", "--ckpt", "runs/tiny", "--num", "2", "--json"});
    const ProgramResult result = run(flags);
    EXPECT_EQ(result.status, 0) << result.err;
    return result.status == 0 ? nlohmann::json::parse(result.out) : nlohmann::json();
  }
};

TEST_F(EmaLength, SamplesFromAveragesThatWereChosenAfterTraining) {
  train("runs/tiny", tracked());
  const auto seven = sample({"--ema-length", "0.07"});
  const auto fifteen = sample({"--ema-length", "0.150"});
  EXPECT_EQ(seven.at("weights"), "ema-length-0.07");
  EXPECT_EQ(fifteen.at("weights"), "ema-length-0.15");
  EXPECT_NE(seven.at("weights_crc32c"), fifteen.at("weights_crc32c"));
  const std::string folder = fs::path(seven.at("files")[0].get<std::string>()).parent_path();
  EXPECT_NE(folder.find("ema-length-0.07"), std::string::npos) << folder;
  EXPECT_NE(io::read_text(folder_ / folder / "sampling.json").find("ema-length-0.07"),
            std::string::npos);
  EXPECT_NE(fs::path(fifteen.at("files")[0].get<std::string>()).parent_path(), folder);
  // The images of another length are not taken for these.
  expect_error({"sample", "--ckpt", "runs/tiny", "--num", "2", "--ema-length", "0.06", "--out",
                folder, "--continue"},
               1, "ema-length-0.06");
}

// One and the same way: a file with the weights of a tracked length, and the images from both.
TEST_F(EmaLength, OfATrackedAverageIsThatAverage) {
  train("runs/tiny", tracked());
  ASSERT_EQ(run({"convert", "runs/tiny", "copy.safetensors", "--to", "safetensors", "--ema-length",
                 "0.1"})
                .status,
            0);
  const auto copy = io::SafetensorsFile::open(folder_ / "copy.safetensors");
  const auto stored =
      io::SafetensorsFile::open(checkpoint("runs/tiny", 24) / "power-0.1.safetensors");
  ASSERT_EQ(copy.names(), stored.names());
  for (const std::string& name : stored.names())
    EXPECT_TRUE(copy.get(name).equal(stored.get(name))) << name;
  const auto samples_of = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"sample", "--num", "2", "--steps", "5", "--out", "out",
                                 "--overwrite", "--save-tensors", "samples.safetensors"});
    const ProgramResult result = run(flags);
    EXPECT_EQ(result.status, 0) << result.err;
    return io::SafetensorsFile::open(folder_ / "samples.safetensors").get("samples");
  };
  const torch::Tensor samples = samples_of({"--ckpt", "runs/tiny", "--ema-length", "0.1"});
  EXPECT_TRUE(samples.equal(samples_of({"--ckpt", "copy.safetensors"})));
  EXPECT_FALSE(samples.equal(samples_of({"--ckpt", "runs/tiny"})));
}

TEST_F(EmaLength, ThatCannotBeIsRefusedWithWhatWouldBe) {
  train("runs/plain");
  expect_error({"sample", "--ckpt", "runs/plain", "--ema-length", "0.1"}, 2,
               "train with ema.power_lengths = [0.05, 0.1]");
  train("runs/tiny", tracked());
  expect_error({"sample", "--ckpt", "runs/tiny", "--ema-length", "0.002"}, 2,
               "possible lengths are");
  expect_error({"sample", "--ckpt", "runs/tiny", "--ema-length", "0.3"}, 2, "from 0.001 to 0.28");
  expect_error({"sample", "--ckpt", "runs/tiny", "--ema-length", "0.1", "--weights", "raw"}, 2,
               "--weights");
  expect_error({"eval", "sweep", "--ckpt", "runs/tiny", "--ema-lengths", "0.1", "--weights", "raw"},
               2, "leave out --weights");
  ASSERT_EQ(run({"convert", "runs/tiny", "copy.pt", "--to", "torch"}).status, 0);
  expect_error({"sample", "--ckpt", "copy.pt", "--ema-length", "0.1"}, 2, "no checkpoint of a run");
  const ProgramResult rough =
      run({"sample", "--ckpt", "runs/tiny", "--num", "1", "--ema-length", "0.02"});
  EXPECT_EQ(rough.status, 0) << rough.err;
  EXPECT_NE(rough.err.find("differs from the one asked for"), std::string::npos) << rough.err;
}

TEST_F(EmaLength, IsInTheInformationAboutARunAndInADryRun) {
  train("runs/tiny", tracked());
  const ProgramResult info = run({"info", "runs/tiny"});
  EXPECT_EQ(info.status, 0) << info.err;
  EXPECT_NE(info.out.find("23 of steps 1 to 23"), std::string::npos) << info.out;
  EXPECT_NE(info.out.find("0.05, 0.1\n"), std::string::npos) << info.out;
  EXPECT_NE(info.out.find("(error below 1 %)"), std::string::npos) << info.out;
  auto flags = tracked({"train", "--config", "tiny.toml", "--out", "runs/new", "--dry-run"});
  const ProgramResult dry = run(flags);
  EXPECT_EQ(dry.status, 0) << dry.err;
  EXPECT_NE(dry.out.find("24 of lengths 0.05 and 0.1, all kept"), std::string::npos) << dry.out;
}

TEST_F(EmaLength, IsARowOfASweep) {
  train("runs/tiny", tracked());
  const ProgramResult result =
      run({"eval", "sweep", "--ckpt", "runs/tiny", "--steps", "2", "--method", "ddim", "--num", "8",
           "--ema-lengths", "0.05,0.07", "--cache", "cache", "--out", "sweep", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const auto cells = nlohmann::json::parse(result.out).at("cells");
  ASSERT_EQ(cells.size(), 2u);
  EXPECT_NE(cells[0].dump().find("ema-length 0.05"), std::string::npos) << cells[0].dump();
  EXPECT_NE(cells[0].at("frechet"), cells[1].at("frechet"));
  EXPECT_TRUE(fs::exists(folder_ / "sweep/steps-0002-eta-0-ema-length-0.07.json"));
}

TEST_F(EmaLength, OfARunThatWasKilledAndStoppedHasEverySnapshot) {
  const std::vector<std::string> more{
      "--set", "train.steps=300",       "--set", "train.checkpoint_every=20",
      "--set", "ema.power_lengths=0.1", "--set", "ema.snapshot_every=5"};
  train("whole", more);
  std::vector<std::string> command{"train", "--config", "tiny.toml", "--out", "broken"};
  command.insert(command.end(), more.begin(), more.end());
  for (const int signal : {SIGKILL, SIGTERM, SIGKILL}) {
    Program program(folder_.path(), command);
    if (!program.wait_for_message(": saved ")) break;
    program.send(signal);
    program.wait();
  }
  train("broken", more);
  expect_same_tensors(checkpoint("whole", 300), checkpoint("broken", 300));
  for (int step = 5; step <= 300; step += 5) {
    char name[64];
    std::snprintf(name, sizeof name, "ema_snapshots/step-%09d", step);
    for (const char* file : {"power-0.1.safetensors", "MANIFEST"})
      EXPECT_EQ(io::read_file(folder_ / "whole" / name / file),
                io::read_file(folder_ / "broken" / name / file))
          << name;
  }
}

}  // namespace
}  // namespace ddpm
