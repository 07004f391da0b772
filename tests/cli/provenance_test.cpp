#include "ddpm/io/image.h"
#include "ddpm/io/png.h"
#include "ddpm/io/safetensors.h"
#include "tests/cli/fixture.h"

#include <filesystem>
#include <sstream>

#include <nlohmann/json.hpp>

namespace ddpm {
namespace {

namespace fs = std::filesystem;

/// A trained network, and pictures that say how they were made.
class Provenance : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    train("runs/tiny");
    io::write_png(folder_ / "in put's.png",
                  (torch::arange(64).view({1, 8, 8}) * 2 + 30).to(torch::kByte));
    torch::Tensor mask = torch::zeros({1, 8, 8}, torch::kByte);
    mask.narrow(2, 4, 4).fill_(255);
    io::write_png(folder_ / "mask.png", mask);
  }

  nlohmann::json json_of(std::vector<std::string> flags) {
    flags.emplace_back("--json");
    const ProgramResult result = run(flags);
    EXPECT_EQ(result.status, 0) << result.err;
    return nlohmann::json::parse(result.out);
  }
  /// The words of a printed command, as a shell reads them, without "ddpm".
  std::vector<std::string> words_of(const std::string& command) {
    const ProgramResult shell =
        Program(folder_.path(), {"-c", "ddpm() { printf '%s\\n' \"$@\"; }; " + command}, {},
                "/bin/sh")
            .wait();
    EXPECT_EQ(shell.status, 0) << shell.err;
    std::vector<std::string> words;
    std::istringstream lines(shell.out);
    for (std::string line; std::getline(lines, line);) words.push_back(line);
    return words;
  }
  std::string command_of(const fs::path& picture) {
    const ProgramResult result = run({"info", picture});
    EXPECT_EQ(result.status, 0) << result.err;
    const size_t last = result.out.rfind("\nddpm ");
    EXPECT_NE(last, std::string::npos) << result.out;
    return result.out.substr(last + 1);
  }
  std::vector<uint8_t> pixels(const fs::path& file) {
    return io::decode_image(io::read_file(folder_ / file), file.string()).pixels;
  }
  /// Makes a picture again by the command that it holds; expects the same pixels and settings.
  void expect_made_again(const fs::path& picture) {
    SCOPED_TRACE(picture);
    const nlohmann::json again = json_of(words_of(command_of(picture)));
    ASSERT_EQ(again.at("files").size(), 1u);
    const fs::path file = again.at("files")[0].get<std::string>();
    EXPECT_NE(file, picture);
    EXPECT_EQ(pixels(file), pixels(picture));
    EXPECT_EQ(json_of({"info", file}).at("settings"), json_of({"info", picture}).at("settings"));
  }
};

TEST_F(Provenance, APictureIsMadeAgainByItsCommand) {
  ASSERT_EQ(run({"sample", "--steps", "5", "--ddim", "--eta", "0.5", "--num", "5", "--batch", "2",
                 "--seed", "7", "--out", "p"})
                .status,
            0);
  expect_made_again("p/000003.png");
  expect_made_again("p/000004.png");
}

// Batches of other sizes may round in another way, so the batch is part of the command.
TEST_F(Provenance, APictureOfAContinuedSetIsMadeAgain) {
  const std::vector<std::string> flags{"sample", "--steps", "5", "--num", "6", "--out", "p"};
  ASSERT_EQ(run(flags).status, 0);
  for (const char* name : {"p/000000.png", "p/000004.png", "p/000005.png"})
    fs::remove(folder_ / name);
  std::vector<std::string> more = flags;
  more.emplace_back("--continue");
  ASSERT_EQ(run(more).status, 0);
  EXPECT_NE(command_of("p/000004.png").find("--in-batch 0,4-5"), std::string::npos);
  expect_made_again("p/000004.png");
}

TEST_F(Provenance, EveryCommandsPicturesAreMadeAgain) {
  train("runs/classes", {"--set", "model.class_conditional=true", "--set", "train.steps=4"});
  io::write_safetensors(folder_ / "noise.safetensors", {{"x_T", torch::randn({4, 1, 8, 8})}});
  const std::string tiny = checkpoint("runs/tiny", 12);
  const std::string input = "in put's.png";
  for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{
           {"edit", "--image", input, "mask.png", "--strength", "0.5", "--num", "4"},
           {"inpaint", "--image", input, "--mask", "mask.png", "--rounds", "2", "--num", "4"},
           {"restore", "--image", input, "--blur", "1", "--num", "4"},
           {"interpolate", "--between", "0,1", "--frames", "4", "--ddim"},
           {"sample", "--init-noise", "noise.safetensors"},
           {"sample", "--method", "auto", "--num", "4"},
           {"sample", "--ckpt", "runs/classes", "--class", "ring,#1", "--num", "4"},
           {"sample", "--weights", "raw", "--precision", "bf16", "--clip", "none", "--num", "4"}}) {
    std::vector<std::string> flags = command;
    if (std::find(flags.begin(), flags.end(), "--ckpt") == flags.end())
      flags.insert(flags.end(), {"--ckpt", tiny});
    flags.insert(flags.end(), {"--steps", "6", "--out", "p", "--overwrite"});
    const ProgramResult result = run(flags);
    ASSERT_EQ(result.status, 0) << command[0] << result.err;
    expect_made_again("p/000003.png");
  }
}

TEST_F(Provenance, ThePicturesBesideTheFolderSayItToo) {
  const std::vector<std::string> flags{"sample", "--steps",      "4",        "--num", "3",
                                       "--ddim", "--trajectory", "--animate"};
  std::vector<std::string> first = flags;
  first.insert(first.end(), {"--out", "p"});
  ASSERT_EQ(run(first).status, 0);
  for (const char* what : {"grid", "trajectory", "animation"}) {
    const std::string name = std::string("p-") + what + ".png";
    EXPECT_EQ(json_of({"info", name}).at("picture"), what);
    std::vector<std::string> again = words_of(command_of(name));
    again.insert(again.end(), {"--out", "again", "--overwrite"});
    ASSERT_EQ(run(again).status, 0);
    EXPECT_EQ(pixels(std::string("again-") + what + ".png"), pixels(name));
  }
}

TEST_F(Provenance, TheChecksumFindsWeightsThatMoved) {
  ASSERT_EQ(run({"sample", "--steps", "3", "--num", "1", "--out", "p"}).status, 0);
  EXPECT_EQ(json_of({"info", "p/000000.png"}).at("checkpoint_state"), "unchanged");
  fs::rename(folder_ / "runs/tiny", folder_ / "runs/elsewhere");
  const nlohmann::json moved = json_of({"info", "p/000000.png"});
  EXPECT_EQ(moved.at("checkpoint_state"), "moved");
  EXPECT_EQ(moved.at("found"), "runs/elsewhere/checkpoints/step-000000012");
  const nlohmann::json again = json_of(words_of(moved.at("command").get<std::string>()));
  EXPECT_EQ(pixels(again.at("files")[0].get<std::string>()), pixels("p/000000.png"));
  fs::rename(folder_ / "runs/elsewhere", folder_ / "runs/tiny2");
  train("runs/tiny", {"--set", "run.seed=5"});
  fs::remove_all(folder_ / "runs/tiny2");
  EXPECT_EQ(json_of({"info", "p/000000.png"}).at("checkpoint_state"), "changed");
  fs::remove_all(folder_ / "runs/tiny");
  EXPECT_EQ(json_of({"info", "p/000000.png"}).at("checkpoint_state"), "missing");
}

TEST_F(Provenance, ItCanBeLeftOut) {
  ASSERT_EQ(run({"sample", "--steps", "3", "--num", "2", "--out", "p"}).status, 0);
  ASSERT_EQ(run({"sample", "--steps", "3", "--num", "2", "--out", "q", "--no-provenance"}).status,
            0);
  EXPECT_EQ(pixels("p/000001.png"), pixels("q/000001.png"));
  EXPECT_EQ(io::read_file(folder_ / "q/000001.png"),
            io::encode_png(
                io::to_tensor(io::decode_image(io::read_file(folder_ / "q/000001.png"), "q"))));
  train("runs/silent", {"--set", "sample.provenance=false"});
  ASSERT_EQ(
      run({"sample", "--ckpt", "runs/silent", "--steps", "3", "--num", "2", "--out", "s"}).status,
      0);
  for (const char* name : {"q/000001.png", "s/000001.png", "q-grid.png", "mask.png"})
    expect_error({"info", name}, 1, "does not say how it was made");
}

// Whoever wrote a file, the printed line is a command of this program, and holds nothing that a
// terminal obeys.
TEST_F(Provenance, AForeignNoteIsNoCommand) {
  const auto write = [&](const std::string& note) {
    const torch::Tensor grey = torch::zeros({1, 2, 2}, torch::kByte);
    const auto png = io::with_png_texts(io::encode_png(grey), {{"ddpm", note}});
    io::replace_file(folder_ / "x.png", png);
  };
  const auto note = [](const nlohmann::json& words) {
    return nlohmann::json{{"program", "ddpm"},    {"picture", "image"}, {"arguments", words},
                          {"checkpoint", "runs"}, {"weights_file", ""}, {"settings", {{"a", 1}}}}
        .dump();
  };
  for (const std::string& text :
       {std::string("no JSON"), std::string("[]"), note({"rm", "-r"}), note({"sample", 3}),
        note({"sample", "\x1B[31m"}), note(nlohmann::json::array())}) {
    write(text);
    expect_error({"info", "x.png"}, 1, "is damaged, or not of this program");
  }
  write(note({"sample", "; rm -r /", "$(id)", "it's"}));
  const std::string command = command_of("x.png");
  EXPECT_EQ(command, "ddpm sample '; rm -r /' '$(id)' 'it'\\''s'\n");
  EXPECT_EQ(words_of(command), (std::vector<std::string>{"sample", "; rm -r /", "$(id)", "it's"}));
}

TEST_F(Provenance, OnlyAndInBatchAreChecked) {
  for (const auto& [flags, why] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"--only", "4"}, "the images are 0 to 3"},
           {{"--only", "2-1"}, "must be numbers of images or ranges of them"},
           {{"--only", "1,1"}, "the numbers must rise"},
           {{"--only", "x"}, "must be numbers of images or ranges of them"},
           {{"--in-batch", "1"}, "--in-batch is for --only"},
           {{"--only", "1", "--in-batch", "2-3"}, "must hold the images of --only 1"},
           {{"--only", "1", "--continue"}, "--continue is for the whole set"},
           {{"--only", "1", "--animate"}, "--animate is for the whole set"}}) {
    std::vector<std::string> command{"sample", "--num", "4", "--steps", "2", "--out", "p"};
    command.insert(command.end(), flags.begin(), flags.end());
    const ProgramResult result = run(command);
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_NE(result.err.find(why), std::string::npos) << result.err;
    EXPECT_FALSE(fs::exists(folder_ / "p"));
  }
  const nlohmann::json some =
      json_of({"sample", "--num", "8", "--steps", "2", "--out", "p", "--only", "0-1,5"});
  EXPECT_EQ(some.at("files").size(), 3u);
  EXPECT_TRUE(fs::exists(folder_ / "p/000005.png"));
  EXPECT_FALSE(fs::exists(folder_ / "p/000002.png"));
  EXPECT_FALSE(fs::exists(folder_ / "p-grid.png"));
}

}  // namespace
}  // namespace ddpm
