#include "ddpm/io/safetensors.h"
#include "tests/cli/fixture.h"

#include <sstream>

#include <torch/types.h>

namespace ddpm {
namespace {

class Errors : public CliTest {
 protected:
  void write(const std::string& name, const std::string& text) {
    io::write_file_synced(folder_ / name, text);
  }
};

TEST_F(Errors, ConfigMistakesNamePlaceValueAndRemedy) {
  const std::vector<std::string> train{"train", "--config", "bad.toml"};
  const auto expect = [&](const std::string& config, const std::string& message) {
    write("bad.toml", config);
    expect_error(train, 2, message);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "runs"))
        << "a refused config must leave nothing";
  };
  expect("[train]\nbatchsize = 4\n",
         "bad.toml:2:1: train.batchsize: unknown key; did you mean train.batch_size?");
  expect("[train]\nbatch_size = \"4\"\n", "bad.toml:2:14: train.batch_size: is ");
  expect("[train]\nbatch_size = 0\n",
         "bad.toml:2:14: train.batch_size: is 0; must be an integer, at least 1");
  expect("[trian]\nsteps = 4\n",
         "bad.toml:2:1: trian.steps: unknown key; did you mean train.steps?");
  expect("[model]\ndropout = 1.0\n", "bad.toml:2:11: model.dropout: is 1");
  expect("[diffusion]\nschedule = \"cosin\"\n", "(did you mean \"cosine\"?)");
  expect("[train]\nsteps = \n", "bad.toml:2:");
  expect("steps = 4\n", "bad.toml:1:1: steps: ");
  expect("[data]\npth = \"x\"\n", "bad.toml:2:1: data.pth: unknown key; did you mean data.path?");
  expect("[data]\nflip = true\n", "data.path names no data");
}

TEST_F(Errors, SetMistakesNameTheFlag) {
  expect_error({"train", "--config", "tiny.toml", "--set", "train.stepz=4"}, 2,
               "--set train.stepz=4: train.stepz");
  expect_error({"train", "--config", "tiny.toml", "--set", "steps"}, 2, "section.key=value");
  expect_error({"train", "--config", "tiny.toml", "--set", "train.steps=many"}, 2,
               "--set train.steps=many");
}

TEST_F(Errors, MissingThingsAreNamed) {
  expect_error({"train", "--config", "nowhere.toml"}, 1, "nowhere.toml");
  expect_error({"train"}, 2, "--config");
  expect_error({"sample"}, 2, "--ckpt");
  expect_error({"sample", "--ckpt", "nowhere"}, 1, "nowhere");
  expect_error({"info", "nowhere"}, 1, "nowhere");
  expect_error({"paint"}, 2, "paint");
  expect_error({}, 2, "no command was given (ddpm --help lists the commands)");
}

TEST_F(Errors, DataMistakesAreNamed) {
  const auto expect = [&](const std::string& setting, const std::string& path,
                          const std::string& message) {
    expect_error({"train", "--config", "tiny.toml", "--set", "data.kind=" + setting, "--set",
                  "data.path=" + path},
                 1, message);
  };
  expect("folder", "nowhere", "nowhere");
  std::filesystem::create_directories(folder_ / "empty");
  expect("folder", "empty", "empty");
  std::filesystem::create_directories(folder_ / "broken");
  write("broken/a.png", "this is not a picture");
  expect("folder", "broken", "a.png");
  write("not.zip", "this is not an archive");
  expect("zip", "not.zip", "not.zip");
  write("x-images-idx3-ubyte", "short");
  expect("idx", "x-images-idx3-ubyte", "x-images-idx3-ubyte");
}

TEST_F(Errors, ANetworkThatDoesNotFitTheImagesNamesSizesThatDo) {
  expect_error({"train", "--config", "tiny.toml", "--set", "data.image_size=9"}, 2,
               "[8, 8] or [10, 10]");
  expect_error({"train", "--config", "tiny.toml", "--set", "model.attention_resolutions=[5]"}, 2,
               "8, 4");
}

TEST_F(Errors, DevicesThatAreNotThereAreNamed) {
  expect_error({"train", "--config", "tiny.toml", "--device", "cuda:99"}, 2, "cuda:99");
  expect_error({"train", "--config", "tiny.toml", "--device", "gpu"}, 2, "gpu");
}

TEST_F(Errors, FilesThatCannotBeReadOrWrittenAreNamed) {
  write("file", "x");
  std::filesystem::create_directories(folder_ / "folder");
  expect_error({"train", "--config", "folder"}, 1, "folder");
  expect_error({"train", "--config", "tiny.toml", "--out", "file/run"}, 1, "file/run");
  expect_error({"train", "--config", "tiny.toml", "--out", "file/run", "--dry-run"}, 1, "file");
  expect_error({"info", "folder"}, 1, "folder");
  expect_error({"noise", "--config", "tiny.toml", "--out", "nowhere/n.png"}, 1, "nowhere/n.png");
  expect_error({"train", "--config", "tiny.toml", "--resume", "folder"}, 1, "folder");
}

TEST_F(Errors, SamplingMistakesNameTheFlag) {
  train("run", {"--set", "train.steps=4"});
  const auto expect = [&](std::vector<std::string> flags, int status, const std::string& text) {
    flags.insert(flags.begin(), {"sample", "--ckpt", "run", "--num", "1"});
    expect_error(flags, status, text);
  };
  write("file", "x");
  io::write_safetensors(folder_ / "other.safetensors", {{"x", torch::zeros({1})}});
  io::write_safetensors(folder_ / "shape.safetensors", {{"x_T", torch::zeros({1, 3, 8, 8})}});
  expect({"--steps", "0"}, 2, "--steps");
  expect({"--steps", "21"}, 2, "--steps");
  expect({"--steps", "many"}, 2, "--steps");
  expect({"--eta", "2"}, 2, "--eta");
  expect({"--eta", "nan"}, 2, "--eta");
  expect({"--ddpm", "--eta", "0.5"}, 2, "leave out --ddpm or --eta");
  expect({"--ddpm", "--eta", "0"}, 2, "leave out --ddpm or --eta");
  expect({"--ddpm", "--sigma", "hat"}, 2, "leave out --ddpm");
  expect({"--ddim", "--ddpm"}, 2, "--ddpm");
  expect({"--ddpm", "--sigma", "tiny"}, 2, "--sigma");
  expect({"--ddim", "--sigma", "large"}, 2, "--sigma");
  expect({"--spacing", "even"}, 2, "--spacing");
  expect({"--class", "3"}, 2, "train with model.class_conditional = true");
  expect({"--weights", "best"}, 2, "--weights best");
  expect({"--seed", "-1"}, 2, "--seed");
  expect({"--batch", "0"}, 2, "--batch");
  expect({"--stesp", "5"}, 2, "unknown flag --stesp; did you mean --steps?");
  expect({"--out", "file/pictures"}, 1, "file/pictures");
  expect({"--init-noise", "nowhere.safetensors"}, 1, "nowhere.safetensors");
  expect({"--init-noise", "file"}, 1, "file");
  expect({"--init-noise", "other.safetensors"}, 1, "other.safetensors: holds no tensor x_T");
  expect({"--init-noise", "shape.safetensors"}, 2, "x_T has shape [1, 3, 8, 8]");
  io::write_safetensors(folder_ / "scalar.safetensors", {{"x_T", torch::zeros({})}});
  io::write_safetensors(folder_ / "none.safetensors", {{"x_T", torch::zeros({0, 1, 8, 8})}});
  expect({"--init-noise", "scalar.safetensors"}, 1, "scalar.safetensors: has an x_T that is not");
  expect({"--init-noise", "none.safetensors"}, 1, "none.safetensors: has an x_T that is not");
  expect({"--save-tensors", "nowhere/s.safetensors"}, 1, "nowhere/s.safetensors");
  expect({"--continue", "--save-tensors", "s.safetensors"}, 2, "--save-tensors");
}

// The usual slips are told what was meant, in the order in which they stand.
TEST_F(Errors, SlipsOfTheCommandLineAreExplained) {
  write("x.toml", "");
  write("pictures", "");
  expect_error({"trian"}, 2, "unknown command \"trian\"; did you mean ddpm train?");
  expect_error({"tiny.toml"}, 2, "did you mean ddpm train --config tiny.toml?");
  expect_error({"pictures"}, 2, "did you mean ddpm sample --ckpt pictures, or ddpm info pictures?");
  expect_error({"train", "x.toml"}, 2, "did you mean --config x.toml?");
  expect_error({"train", "pictures"}, 1, "pictures: is neither a folder, a .zip");
  expect_error({"data", "pictures"}, 2, "--config configs/folder.toml --set data.path=pictures");
  expect_error({"sample", "--step", "20"}, 2,
               "ddpm sample: unknown flag --step; did you mean --steps? (ddpm sample --help lists");
  expect_error({"sample", "--ckpt", "x", "50", "--steps", "3"}, 2, "unexpected argument 50 (");
  expect_error({"sample", "-steps", "20"}, 2, "unknown flag -steps; did you mean --steps?");
  expect_error({"sample", "--num=3", "--coat"}, 2, "unknown flag --coat");
  expect_error({"sample", "--steps"}, 2, "ddpm sample: --steps needs a value");
  expect_error({"sample", "--steps", "--ddim"}, 2, "ddpm sample: --steps needs a value");
  expect_error({"sample", "--steps", "3", "--num", "1", "--steps", "5"}, 2,
               "--steps is given twice");
  expect_error({"eval", "sweep", "--stepz", "1"}, 2, "ddpm eval sweep: unknown flag --stepz");
  expect_error({"eval", "swep"}, 2, "swep: no such checkpoint; did you mean ddpm eval sweep?");
  expect_error(
      {"convert", "a", "b", "--to", "difusers"}, 2,
      "--to: is difusers; must be one of diffusers, safetensors, torch, torch-module, ddpm; "
      "did you mean diffusers?");
  expect_error({"info"}, 2, "ddpm info --help lists the flags");
}

TEST_F(Errors, NumbersOfFlagsAreReadAsWritten) {
  train("run", {"--set", "train.steps=4"});
  const auto sampled = [&](const std::string& num) {
    const ProgramResult result =
        run({"sample", "--ckpt", "run", "--steps", "2", "--out", "n" + num, "--num", num});
    EXPECT_EQ(result.status, 0) << result.err;
    return std::filesystem::exists(folder_ / ("n" + num) / "000009.png") &&
           !std::filesystem::exists(folder_ / ("n" + num) / "000010.png");
  };
  EXPECT_TRUE(sampled("010")) << "ten, not eight";
  EXPECT_TRUE(sampled("1e1"));
  EXPECT_TRUE(sampled("10.0"));
  const auto expect = [&](const std::string& flag, const std::string& value,
                          const std::string& text) {
    expect_error({"sample", "--ckpt", "run", flag, value}, 2, text);
  };
  expect("--num", "0", "--num: is 0; must be at least 1");
  expect("--num", "1.5", "--num: is 1.5; must be a whole number");
  expect("--num", "many", "--num: is many; must be a whole number");
  expect("--batch", "1e9", "--batch: is 1000000000; must be at most 1,048,576");
  expect("--eta", "nan", "--eta: is nan; must be a number from 0 to 1");
  expect("--steps", "2000", "--steps is 2000, but the schedule has 20 timesteps; use 1 to 20");
}

// `help` wherever people write it.
TEST_F(Errors, HelpIsFound) {
  const std::string train = run({"train", "--help"}).out, all = run({"--help"}).out;
  EXPECT_EQ(run({"help"}).out, all);
  EXPECT_EQ(run({"help", "train"}).out, train);
  EXPECT_EQ(run({"train", "help"}).out, train);
  EXPECT_EQ(run({"eval", "sweep", "help"}).out, run({"eval", "sweep", "--help"}).out);
  EXPECT_EQ(run({"help", "eval", "sweep"}).out, run({"eval", "sweep", "--help"}).out);
  expect_error({"help", "trian"}, 2, "did you mean ddpm train?");
}

// Lines of at most 100 columns, an example, no bounds that mean nothing.
TEST_F(Errors, HelpIsReadable) {
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{{},
                                             {"init"},
                                             {"train"},
                                             {"sample"},
                                             {"edit"},
                                             {"inpaint"},
                                             {"restore"},
                                             {"interpolate"},
                                             {"encode"},
                                             {"estimate"},
                                             {"check"},
                                             {"noise"},
                                             {"data"},
                                             {"info"},
                                             {"report"},
                                             {"convert"},
                                             {"bench"},
                                             {"eval"},
                                             {"eval", "likelihood"},
                                             {"eval", "sweep"}}) {
    std::vector<std::string> arguments = command;
    arguments.emplace_back("--help");
    const std::string text = run(arguments).out;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
    EXPECT_NE(text.find("\nExample"), std::string::npos) << text;
    EXPECT_NE(text.find("\n  ddpm "), std::string::npos) << text;
    EXPECT_EQ(text.find(" in ["), std::string::npos) << text;
    EXPECT_EQ(text.find("INT"), std::string::npos) << text;
  }
}

// A flag with a default says which.
TEST_F(Errors, HelpTellsDefaults) {
  const std::string text = run({"sample", "--help"}).out;
  for (const char* flag : {"--num", "--steps", "--eta", "--sigma", "--spacing", "--clip", "--seed",
                           "--batch", "--weights", "--device", "--precision", "--out", "--class"}) {
    const size_t begin = text.find(std::string("\n  ") + flag);
    ASSERT_NE(begin, std::string::npos) << flag;
    const std::string entry = text.substr(begin, text.find("\n  --", begin + 1) - begin);
    EXPECT_NE(entry.find("default:"), std::string::npos) << entry;
  }
}

TEST_F(Errors, HelpAndVersionSucceed) {
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"--help"},
                                                    {"train", "--help"},
                                                    {"sample", "--help"},
                                                    {"noise", "--help"},
                                                    {"data", "--help"},
                                                    {"info", "--help"},
                                                    {"--version"}}) {
    const ProgramResult result = run(arguments);
    EXPECT_EQ(result.status, 0);
    EXPECT_FALSE(result.out.empty());
  }
}

TEST_F(Errors, NoiseDrawsThePictureAndPrintsItsCaption) {
  const ProgramResult result = run(
      {"noise", "--config", "tiny.toml", "--images", "0,3", "--t", "0,10,20", "--out", "n.png"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_TRUE(std::filesystem::exists(folder_ / "n.png"));
  EXPECT_NE(result.out.find("t = 0      alpha_bar = 1 "), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("t = 20"), std::string::npos) << result.out;
  expect_error({"noise", "--config", "tiny.toml", "--t", "21"}, 2, "0..20");
}

}  // namespace
}  // namespace ddpm
