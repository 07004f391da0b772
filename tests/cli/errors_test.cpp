#include "tests/cli/fixture.h"

namespace ddpm {
namespace {

class Errors : public CliTest {
 protected:
  /// Runs and expects one line on stderr that begins "ddpm: error: " and holds `text`, and nothing
  /// on stdout.
  void expect_error(const std::vector<std::string>& arguments, int status,
                    const std::string& text) {
    const ProgramResult result = run(arguments);
    EXPECT_EQ(result.status, status) << result.err;
    const size_t line = result.err.rfind("ddpm: error: ");
    ASSERT_NE(line, std::string::npos) << result.err;
    EXPECT_EQ(result.err.find('\n', line), result.err.size() - 1) << "not one line: " << result.err;
    EXPECT_NE(result.err.find(text, line), std::string::npos)
        << "wanted: " << text << "\ngot: " << result.err;
    EXPECT_EQ(result.out, "");
  }

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
  expect_error({}, 2, "subcommand");
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

TEST_F(Errors, HelpAndVersionSucceed) {
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"--help"},
                                                    {"train", "--help"},
                                                    {"sample", "--help"},
                                                    {"noise", "--help"},
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
