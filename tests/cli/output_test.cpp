#include "tests/cli/fixture.h"

#include <filesystem>
#include <string>
#include <vector>

namespace ddpm {
namespace {

using Words = std::vector<std::string>;

class Output : public CliTest {
 protected:
  // `ddpm WORDS...` within a shell's `script`, as "$@".
  ProgramResult shell(const std::string& script, const Words& words) {
    Words all{"-c", script, "sh", DDPM_PROGRAM};
    all.insert(all.end(), words.begin(), words.end());
    return Program(folder_.path(), all, {}, "/bin/sh").wait();
  }

  // Each command that prints results.
  std::vector<Words> commands() {
    const Words evaluation{"--num", "4", "--cache", "cache", "--batch", "4"};
    const auto with = [](Words words, const Words& more) {
      words.insert(words.end(), more.begin(), more.end());
      return words;
    };
    return {{"info", "run"},
            {"--help"},
            {"--version"},
            {"sample", "--ckpt", "run", "--num", "2", "--steps", "2", "--out", "one"},
            {"sample", "--ckpt", "run", "--num", "2", "--steps", "2", "--out", "two", "--json"},
            {"data", "--config", "tiny.toml"},
            {"data", "--config", "tiny.toml", "--json"},
            {"noise", "--config", "tiny.toml"},
            {"convert", "run", "weights.safetensors", "--to", "safetensors"},
            {"train", "--config", "tiny.toml", "--out", "dry", "--dry-run"},
            {"bench", "--config", "tiny.toml", "--what", "data", "--repeats", "1"},
            {"bench", "--config", "tiny.toml", "--what", "data", "--repeats", "1", "--json"},
            with({"eval", "--ckpt", "run"}, evaluation),
            with({"eval", "--ckpt", "run", "--json"}, evaluation),
            {"eval", "likelihood", "--ckpt", "run", "--num", "4", "--calls", "2", "--out", "bits"},
            {"eval", "likelihood", "--ckpt", "run", "--num", "4", "--calls", "2", "--out", "bits",
             "--json"},
            {"eval", "sweep", "--ckpt", "run", "--num", "4", "--steps", "2", "--eta", "0",
             "--cache", "cache", "--out", "sweep"},
            {"eval", "sweep", "--ckpt", "run", "--num", "4", "--steps", "2", "--eta", "0",
             "--cache", "cache", "--out", "sweep", "--json"}};
  }

  static std::string joined(const Words& words) {
    std::string text;
    for (const std::string& word : words) text += word + " ";
    return text;
  }
};

TEST_F(Output, ResultsThatCannotBeWrittenAreAnError) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "there is no /dev/full";
  train("run");
  for (const Words& words : commands()) {
    const ProgramResult result = shell("exec \"$@\" > /dev/full", words);
    EXPECT_EQ(result.status, 1) << joined(words) << result.err;
    EXPECT_TRUE(
        result.err.ends_with("ddpm: error: standard output: the results cannot be written: "
                             "No space left on device; send them elsewhere\n"))
        << joined(words) << result.err;
    std::filesystem::remove(folder_ / "weights.safetensors");
  }
  // Nothing printed, nothing lost.
  EXPECT_EQ(
      shell("exec \"$@\" > /dev/full", {"train", "--config", "tiny.toml", "--out", "other"}).status,
      0);
}

TEST_F(Output, AReaderThatIsGoneIsAnErrorAfterTheWorkAndNeverASignal) {
  train("run");
  const ProgramResult gone =
      shell("{ \"$@\"; echo $? > status; } | true; cat status", {"info", "run"});
  EXPECT_EQ(gone.out, "1\n") << gone.err;
  EXPECT_NE(gone.err.find("the results cannot be written: Broken pipe"), std::string::npos)
      << gone.err;
  const ProgramResult sampled =
      shell("{ \"$@\"; echo $? > status; } | true; cat status",
            {"sample", "--ckpt", "run", "--num", "2", "--steps", "2", "--out", "pictures"});
  EXPECT_EQ(sampled.out, "1\n") << sampled.err;
  EXPECT_TRUE(std::filesystem::exists(folder_ / "pictures/000001.png"));
  // Messages alone are not worth the training.
  const ProgramResult trained =
      shell("{ \"$@\" 2>&1; echo $? > status; } | true; cat status",
            {"train", "--config", "tiny.toml", "--out", "other", "--set", "train.log_every=1"});
  EXPECT_EQ(trained.out, "0\n");
  expect_same_tensors(checkpoint("run", 12), checkpoint("other", 12));
}

TEST_F(Output, AClosedStreamTakesNoFilesPlace) {
  train("run");
  const ProgramResult info = shell("exec \"$@\" >&-", {"info", "run"});
  EXPECT_EQ(info.status, 1);
  EXPECT_NE(info.err.find("the results cannot be written: Bad file descriptor"), std::string::npos)
      << info.err;
  // What is opened next would have the number of stdout or stderr, and receive messages.
  for (const char* closed : {"<&-", ">&-", "2>&-", "<&- >&- 2>&-"}) {
    const ProgramResult result = shell(std::string("exec \"$@\" ") + closed,
                                       {"train", "--config", "tiny.toml", "--out", "closed"});
    EXPECT_EQ(result.status, 0) << closed << result.err;
    expect_same_tensors(checkpoint("run", 12), checkpoint("closed", 12));
    std::filesystem::remove_all(folder_ / "closed");
  }
}

TEST_F(Output, AFullDiskLeavesNoHalfPicture) {
  // Files of at most 512 bytes; without the limit's own signal, SIGXFSZ, killing the program.
  const std::string limited = "ulimit -f 1; exec \"$@\"";
  for (const char* command : {"noise", "data"}) {
    const ProgramResult result =
        shell(limited, {command, "--config", "tiny.toml", "--out", "picture.png"});
    EXPECT_EQ(result.status, 1) << result.err;
    EXPECT_NE(result.err.find("error: picture.png: cannot write: File too large"),
              std::string::npos)
        << result.err;
    EXPECT_FALSE(std::filesystem::exists(folder_ / "picture.png"));
  }
  // What is there already stays.
  ASSERT_EQ(run({"noise", "--config", "tiny.toml", "--out", "picture.png"}).status, 0);
  const auto before = io::read_file(folder_ / "picture.png");
  EXPECT_EQ(
      shell(limited, {"noise", "--config", "tiny.toml", "--seed", "1", "--out", "picture.png"})
          .status,
      1);
  EXPECT_EQ(io::read_file(folder_ / "picture.png"), before);
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path()))
    EXPECT_FALSE(entry.path().filename().string().starts_with(".picture")) << entry.path();
}

TEST_F(Output, WhatIsReadIsNotWrittenOver) {
  train("run");
  ASSERT_EQ(run({"convert", "run", "weights.safetensors", "--to", "safetensors"}).status, 0);
  std::filesystem::create_hard_link(folder_ / "weights.safetensors", folder_ / "link.safetensors");
  const std::string inside = (checkpoint("run", 12) / "model.safetensors").string();
  const auto expect_refused = [&](const Words& words, const std::string& message) {
    const ProgramResult result = run(words);
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_NE(result.err.find(message), std::string::npos) << result.err;
  };
  const auto weights = io::read_file(folder_ / "weights.safetensors"),
             model = io::read_file(inside);
  for (const char* name : {"weights.safetensors", "./weights.safetensors", "link.safetensors"}) {
    expect_refused({"sample", "--ckpt", "weights.safetensors", "--num", "1", "--steps", "2",
                    "--out", "a", "--save-tensors", name},
                   "the weights are read from weights.safetensors");
  }
  for (const std::string& name : {inside, (checkpoint("run", 12) / "new").string()}) {
    expect_refused({"sample", "--ckpt", "run", "--num", "1", "--steps", "2", "--out", "a",
                    "--save-tensors", name},
                   "the weights are read from ");
  }
  EXPECT_EQ(io::read_file(folder_ / "weights.safetensors"), weights);
  EXPECT_EQ(io::read_file(inside), model);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "a"));

  ASSERT_EQ(run({"sample", "--ckpt", "run", "--num", "2", "--steps", "2", "--out", "set"}).status,
            0);
  std::filesystem::remove(folder_ / "set/grid.png");
  for (const char* command : {"data", "noise"}) {
    expect_refused({command, "--config", "tiny.toml", "--set", "data.kind=folder", "--set",
                    "data.path=set", "--out", "set/x.png"},
                   "--out set/x.png: the images are read from set");
  }
  expect_refused({"eval", "--samples", "set", "--cache", "cache", "--reference", "tiny.toml",
                  "--neighbours", "set/000000.png"},
                 "--neighbours set/000000.png: the samples are read from set");
}

TEST_F(Output, OfOthersAreNotReplaced) {
  train("run");
  io::write_file_atomic(folder_ / "mine.png", "a picture of mine");
  io::write_file_atomic(folder_ / "mine.safetensors", "tensors of mine");
  ASSERT_EQ(run({"sample", "--ckpt", "run", "--num", "2", "--steps", "2", "--out", "set"}).status,
            0);
  const std::vector<Words> commands{
      {"data", "--config", "tiny.toml", "--out", "mine.png"},
      {"noise", "--config", "tiny.toml", "--out", "mine.png"},
      {"eval", "--samples", "set", "--reference", "set", "--neighbours", "mine.png"},
      {"sample", "--ckpt", "run", "--num", "1", "--steps", "2", "--save-tensors",
       "mine.safetensors"},
      {"encode", "--ckpt", "run", "--image", "set/000000.png", "--out", "mine.safetensors"}};
  for (const Words& words : commands) {
    const ProgramResult result = run(words);
    EXPECT_EQ(result.status, 1) << words[0];
    EXPECT_NE(result.err.find(words.back() + ": already exists and is no "), std::string::npos)
        << result.err;
  }
  EXPECT_EQ(io::read_text(folder_ / "mine.png"), "a picture of mine");
  EXPECT_EQ(io::read_text(folder_ / "mine.safetensors"), "tensors of mine");
}

TEST_F(Output, OfTheProgramAreReplaced) {
  train("run");
  ASSERT_EQ(run({"sample", "--ckpt", "run", "--num", "2", "--steps", "2", "--out", "set"}).status,
            0);
  const std::vector<Words> commands{
      {"data", "--config", "tiny.toml", "--out", "ours.png"},
      {"noise", "--config", "tiny.toml", "--out", "ours.png"},
      {"sample", "--ckpt", "run", "--num", "1", "--steps", "2", "--overwrite", "--save-tensors",
       "samples.safetensors"},
      {"encode", "--ckpt", "run", "--image", "set/000000.png", "--out", "x_T.safetensors"}};
  for (int round = 0; round < 2; ++round)
    for (const Words& words : commands) {
      const ProgramResult result = run(words);
      EXPECT_EQ(result.status, 0) << words[0] << result.err;
    }
}

TEST_F(Output, InAMissingFolderAreRefusedBeforeTheWork) {
  for (const char* command : {"data", "noise"}) {
    const ProgramResult result =
        run({command, "--config", "tiny.toml", "--out", "nowhere/picture.png"});
    EXPECT_EQ(result.status, 1);
    EXPECT_NE(result.err.find("nowhere/picture.png: cannot be written: there is no folder"),
              std::string::npos)
        << result.err;
  }
}

}  // namespace
}  // namespace ddpm
