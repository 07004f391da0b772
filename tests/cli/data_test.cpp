#include "ddpm/io/image.h"
#include "tests/cli/fixture.h"
#include "tests/io/fixtures.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

namespace ddpm {
namespace {

using fixtures::Bytes;

class DataCommand : public CliTest {
 protected:
  /// Runs `ddpm data` with these values of [data] and nothing else in the config.
  ProgramResult data(const std::string& section, const std::vector<std::string>& extra = {}) {
    io::write_file_synced(folder_ / "data.toml", "[data]\n" + section);
    std::vector<std::string> arguments{"data", "--config", "data.toml"};
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    return run(arguments);
  }

  void expect_error(const std::string& section, int status, const std::string& text) {
    const ProgramResult result = data(section);
    EXPECT_EQ(result.status, status) << result.err;
    const size_t line = result.err.rfind("ddpm: error: ");
    ASSERT_NE(line, std::string::npos) << result.err;
    EXPECT_EQ(result.err.find('\n', line), result.err.size() - 1) << "not one line: " << result.err;
    EXPECT_CONTAINS(result.err.substr(line), text);
  }

  /// Two cats of 10 and 30, one dog of 50, all grey and 6x8.
  void write_pets() {
    fixtures::write(folder_ / "pets/cat/1.pgm", fixtures::flat_pnm(6, 8, 1, 10));
    fixtures::write(folder_ / "pets/cat/2.pgm", fixtures::flat_pnm(6, 8, 1, 30));
    fixtures::write(folder_ / "pets/dog/1.pgm", fixtures::flat_pnm(6, 8, 1, 50));
  }
};

TEST_F(DataCommand, ReportsAFolder) {
  write_pets();
  const ProgramResult result = data("path = \"pets\"");
  ASSERT_EQ(result.status, 0) << result.err;
  for (const char* text :
       {"kind           folder", "images         3", "1 x 6 x 8", "classes        2",
        "cat                           2", "dog                           1", "bad files      none",
        // Mean 30 and deviation sqrt(800 / 3); 30 / 127.5 - 1 and that / 127.5.
        "grey             30.000     16.330     -0.76471      0.12808  10..50",
        "  0..15   33.3% ████████████████████████████████████████\n", " 48..63   33.3% "}) {
    EXPECT_CONTAINS(result.out, text);
  }
  const io::Image picture = io::decode_image(io::read_file(folder_ / "data.png"), "data.png");
  EXPECT_EQ(picture.height, 8 * (2 * 8 + 2));  // enlarged by the most that there is
  EXPECT_EQ(picture.width, 8 * (2 * 10 + 2));
}

TEST_F(DataCommand, JsonIsOneLineOfTheSame) {
  write_pets();
  fixtures::write(folder_ / "pets/dog/2.pgm", fixtures::flat_pnm(12, 9, 1, 50));
  const ProgramResult result =
      data("path = \"pets\"\nimage_size = 4", {"--json", "--out", "p.png"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out.find('\n'), result.out.size() - 1);
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json.at("kind"), "folder");
  EXPECT_EQ(json.at("count"), 4);
  EXPECT_EQ(json.at("read"), 4);
  EXPECT_EQ(json.at("height"), 4);
  EXPECT_EQ(json.at("source_height"), (std::vector<int>{6, 12}));
  EXPECT_EQ(json.at("source_width"), (std::vector<int>{8, 9}));
  EXPECT_EQ(json.at("classes")[0].at("name"), "cat");
  EXPECT_EQ(json.at("classes")[0].at("count"), 2);
  EXPECT_EQ(json.at("mean")[0], 35.0);
  EXPECT_EQ(json.at("histogram")[3], 2 * 16);
  EXPECT_EQ(json.at("picture"), "p.png");
  EXPECT_TRUE(json.at("bad").empty());
}

TEST_F(DataCommand, MaxReadsImagesSpreadEvenly) {
  const ProgramResult result = data("kind = \"procedural\"\nsize = 800\nimage_size = 8",
                                    {"--max", "5", "--json", "--num", "0"});
  ASSERT_EQ(result.status, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json.at("read"), 5);
  EXPECT_EQ(json.at("count"), 800);
  EXPECT_EQ(json.at("picture"), "");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "data.png"));
}

TEST_F(DataCommand, BadFilesAreListedAndFailUnlessTheyMayBeSkipped) {
  write_pets();
  fixtures::write(folder_ / "pets/cat/0.png", fixtures::from_text("no picture"));
  Bytes cut = fixtures::flat_pnm(300, 300, 1, 10);
  cut.resize(70000);  // the header scan reads 64 KiB
  fixtures::write(folder_ / "pets/dog/9.pgm", cut);
  const ProgramResult result = data("path = \"pets\"\nimage_size = 6");
  EXPECT_EQ(result.status, 1);
  EXPECT_CONTAINS(result.out, "bad files      2");
  EXPECT_CONTAINS(result.out, "pets/cat/0.png: is not a PNG");
  EXPECT_CONTAINS(result.out, "pets/dog/9.pgm: is not a readable image: it is cut short");
  EXPECT_CONTAINS(result.err,
                  "error: 2 images cannot be read (listed above); repair or remove them, or set "
                  "data.on_bad_image = \"skip\"");
  EXPECT_TRUE(std::filesystem::exists(folder_ / "data.png"));
  const ProgramResult allowed = data("path = \"pets\"\nimage_size = 6\non_bad_image = \"skip\"");
  EXPECT_EQ(allowed.status, 0) << allowed.err;
  EXPECT_CONTAINS(allowed.out, "bad files      2");
}

TEST_F(DataCommand, NamesWhatIsLostAndPassedOver) {
  write_pets();
  fixtures::write(folder_ / "pets/dog/2.ppm", fixtures::flat_pnm(6, 8, 3, 50));
  fixtures::write(folder_ / "pets/dog/3.gif", fixtures::from_text("GIF89a"));
  std::filesystem::create_directory_symlink("..", folder_ / "pets/up");
  const ProgramResult result = data("path = \"pets\"");
  ASSERT_EQ(result.status, 0) << result.err;
  for (const char* text :
       {"passed over    1 .gif\n", "note           pets/up is a link back to ",
        "note           1 of 4 images has colours and becomes grey, as the first, cat/1.pgm, is "
        "grey; set data.channels = 3 to keep the colours, or 1 to agree\n",
        "note           files of formats that are not read are passed over: 1 .gif;"}) {
    EXPECT_CONTAINS(result.out, text);
  }
  const auto json = nlohmann::json::parse(data("path = \"pets\"", {"--json"}).out);
  EXPECT_EQ(json.at("passed_over").at(".gif"), 1);
  EXPECT_EQ(json.at("remarks").size(), 3u);
}

// The run keeps what it knows of the files: only a look at the second one would tell.
TEST_F(DataCommand, TrainingLooksAtFilesOnce) {
  for (int i = 0; i < 10; ++i)
    fixtures::write(folder_ / ("set/" + std::to_string(i) + ".pgm"),
                    fixtures::flat_pnm(8, 8, 1, 10));
  const std::vector<std::string> settings{"--set", "data.kind=folder", "--set", "data.path=set",
                                          "--set", "data.holdout=0",   "--set", "train.steps=2"};
  train("run", settings);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "run/data.index"));
  const auto file = folder_ / "set/3.pgm";
  const auto time = std::filesystem::last_write_time(file);
  fixtures::write(file, Bytes(std::filesystem::file_size(file), 'x'));
  std::filesystem::last_write_time(file, time);
  train("run", settings);  // goes on from step 2, which is the last
  std::filesystem::remove(folder_ / "run/data.index");
  std::vector<std::string> again{"train", "--config", "tiny.toml", "--out", "run"};
  again.insert(again.end(), settings.begin(), settings.end());
  EXPECT_CONTAINS(run(again).err, "set/3.pgm: is not a PNG");
}

TEST_F(DataCommand, TrainingStopsAtOnceOrLeavesBadFilesOut) {
  for (int i = 0; i < 4; ++i) {
    fixtures::write(folder_ / ("set/" + std::to_string(i) + ".pgm"),
                    i == 2 ? fixtures::from_text("no picture") : fixtures::flat_pnm(8, 8, 1, 10));
  }
  const std::vector<std::string> arguments{
      "train", "--config", "tiny.toml", "--set", "data.kind=folder", "--set", "data.path=set"};
  const ProgramResult stopped = run(arguments);
  EXPECT_EQ(stopped.status, 1);
  EXPECT_CONTAINS(stopped.err, "set/2.pgm: is not a PNG");
  EXPECT_CONTAINS(stopped.err, "set data.on_bad_image = \"skip\"");
  train("run", {"--set", "data.kind=folder", "--set", "data.path=set", "--set",
                "data.on_bad_image=skip", "--set", "data.holdout=0", "--set", "train.steps=2"});
}

TEST_F(DataCommand, MistakesAreNamedInOneLine) {
  expect_error("path = \"nowhere\"", 1, "nowhere: does not exist");
  expect_error("", 2, "data.path names no data");
  fixtures::write(folder_ / "a.bin", Bytes(3000, 0));
  expect_error("path = \"a.bin\"", 1, "a.bin: is cut short or no CIFAR file: its 3000 bytes");
  fixtures::write(folder_ / "a.npy", fixtures::from_text("text"));
  expect_error("path = \"a.npy\"", 1, "a.npy: is not a .npy file");
  fixtures::write(folder_ / "a.npz", fixtures::from_text("text"));
  expect_error("path = \"a.npz\"", 1, "a.npz: is not a readable zip archive");
  expect_error("path = \"a.npy\"\ncrop = \"random\"", 2, "data.toml:3:8: data.crop");
  expect_error("path = \"a.npy\"\nlayout = \"chw\"", 2, "data.toml:3:10: data.layout");
  expect_error("path = \"a.npy\"\nrange = 1", 2, "data.toml:3:9: data.range");
  expect_error("path = \"a.npy\"\non_bad_image = \"warn\"", 2, "data.toml:3:16: data.on_bad_image");
  expect_error("kind = \"procedural\"\nchannels = 4", 2, "data.channels: is 4; procedural");
  expect_error("pathh = \"x\"", 2, "did you mean data.path?");
}

TEST_F(DataCommand, ReadsTheGoldenArrays) {
  const std::string golden = DDPM_SOURCE_DIR "/tests/golden/";
  const ProgramResult result =
      data("path = \"" + golden + "numpy_images.npz\"", {"--json", "--out", "p.png"});
  ASSERT_EQ(result.status, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json.at("kind"), "npz");
  EXPECT_EQ(json.at("channels"), 3);
  EXPECT_EQ(json.at("classes").size(), 3u);
  // numpy: mean, std and histogram(16, (0, 256)) of the same array.
  const std::vector<double> mean{74.5, 157.5, 143.7888888888889};
  const std::vector<double> deviation{36.270970945555526, 36.270970945555526, 96.88968462975984};
  for (int c = 0; c < 3; ++c) {
    EXPECT_NEAR(json.at("mean")[c].get<double>(), mean[c], 1e-10);
    EXPECT_NEAR(json.at("deviation")[c].get<double>(), deviation[c], 1e-10);
  }
  EXPECT_EQ(json.at("lowest"), (std::vector<int>{0, 83, 0}));
  EXPECT_EQ(json.at("highest"), (std::vector<int>{149, 232, 255}));
  EXPECT_EQ(json.at("histogram"),
            (std::vector<int>{19, 16, 17, 18, 13, 17, 19, 18, 20, 14, 15, 20, 16, 21, 14, 13}));
}

}  // namespace
}  // namespace ddpm
