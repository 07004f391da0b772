#include "tests/cli/fixture.h"
#include "tests/io/fixtures.h"

#include <nlohmann/json.hpp>

namespace ddpm {
namespace {

class Init : public CliTest {
 protected:
  /// 20 pictures each of two classes, 16x16 and of one colour each.
  void write_pictures(const std::string& folder, int channels = 3) {
    for (int i = 0; i < 40; ++i) {
      fixtures::Bytes pixels;
      for (int p = 0; p < 16 * 16 * channels; ++p)
        pixels.push_back(static_cast<uint8_t>(p % channels == 0 ? 6 * i : 10));
      fixtures::write(folder_ / folder / (i % 2 == 0 ? "a" : "b") / (std::to_string(i) + ".ppm"),
                      fixtures::pnm(16, 16, channels, pixels));
    }
  }

  std::string text(const std::string& file) { return io::read_text(folder_ / file); }
};

TEST_F(Init, WritesAConfigThatTrains) {
  write_pictures("my pics");
  const ProgramResult result = run({"init", "my pics", "--minutes", "1", "--device", "cpu"});
  ASSERT_EQ(result.status, 0) << result.err;
  for (const char* part :
       {"pictures       my pics: 40 pictures, 16x16, colours, 2 classes\n", " on the CPU, ",
        "image size     16x16: the smallest picture has 16 pixels\n",
        "flip           off: ", "dropout        0.1: 40 pictures are few", "length         ",
        "warning        40 pictures are too few to learn from", "written        my-pics.toml\n",
        "next           ddpm train --config my-pics.toml\n"}) {
    EXPECT_CONTAINS(result.out, part);
  }
  const std::string config = text("my-pics.toml");
  for (const char* part :
       {"# ddpm train --config my-pics.toml\n", "\npath = \"my pics\"\n", "image_size = 16\n",
        "channels = 3\n", "flip = false\n", "class_conditional = \"auto\"\n", "device = \"cpu\"\n",
        "schedule = \"flow\"\n", "prediction = \"flow\"\n",
        "\nt_sampling = \"log_normal\"\nlog_sigma_mean = 0"}) {
    EXPECT_CONTAINS(config, part);
  }
  const ProgramResult trained =
      run({"train", "--config", "my-pics.toml", "--set", "train.steps=3"});
  ASSERT_EQ(trained.status, 0) << trained.err;
  EXPECT_TRUE(std::filesystem::exists(checkpoint("runs/my-pics", 3)));
}

TEST_F(Init, JsonIsOneLineOfTheSame) {
  write_pictures("grey", 1);
  const ProgramResult result =
      run({"init", "grey", "--size", "8", "--out", "g.toml", "--minutes", "2", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out.find('\n'), result.out.size() - 1);
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json.at("count"), 40);
  EXPECT_EQ(json.at("coloured"), false);
  EXPECT_EQ(json.at("classes"), 2);
  EXPECT_EQ(json.at("image_size"), 8);
  EXPECT_EQ(json.at("config"), "g.toml");
  EXPECT_EQ(json.at("next"), "ddpm train --config g.toml");
  EXPECT_EQ(json.at("reasons").at("data.image_size"), "as asked");
  EXPECT_LE(json.at("seconds").get<double>(), 120.0);
  EXPECT_CONTAINS(text("g.toml"), "\nchannels = 1\n");
  EXPECT_CONTAINS(text("g.toml"), "\nsteps = " + std::to_string(json.at("steps").get<int64_t>()));
}

TEST_F(Init, LeavesAnExistingFileAlone) {
  write_pictures("pics");
  io::write_file_synced(folder_ / "pics.toml", std::string_view("# mine\n"));
  expect_error({"init", "pics", "--size", "8"}, 1,
               "pics.toml: already exists with other content; choose another file with --out");
  EXPECT_EQ(text("pics.toml"), "# mine\n");
}

TEST_F(Init, PicturesThatCannotBeReadAreLeftOut) {
  write_pictures("pics");
  fixtures::write(folder_ / "pics/a/x.png", fixtures::from_text("no picture"));
  const ProgramResult result = run({"init", "pics", "--size", "8"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_CONTAINS(result.out, "warning        1 picture cannot be read and is left out");
  EXPECT_CONTAINS(text("pics.toml"), "on_bad_image = \"skip\"\n");
  const ProgramResult trained = run({"train", "--config", "pics.toml", "--set", "train.steps=2"});
  EXPECT_EQ(trained.status, 0) << trained.err;
}

// One command chooses, trains and resumes; what was chosen stays.
TEST_F(Init, TrainOnPicturesChoosesOnceAndResumes) {
  write_pictures("pics");
  write_pictures("other/pics");
  const auto train = [&](const std::string& pictures, const std::string& steps) {
    return run({"train", pictures, "--minutes", "1", "--set", "train.steps=" + steps});
  };
  const ProgramResult first = train("pics", "4");
  ASSERT_EQ(first.status, 0) << first.err;
  EXPECT_CONTAINS(first.err, "image size: 16x16");
  EXPECT_CONTAINS(first.err, "the chosen settings are in runs/pics/init.toml");
  const std::string chosen = text("runs/pics/init.toml"), effective = text("runs/pics/config.toml");
  EXPECT_CONTAINS(effective, "steps = 4\n");

  const ProgramResult second = train("pics/", "6");
  ASSERT_EQ(second.status, 0) << second.err;
  EXPECT_CONTAINS(second.err, "nothing is chosen anew");
  EXPECT_EQ(second.err.find("image size"), std::string::npos) << second.err;
  EXPECT_TRUE(std::filesystem::exists(checkpoint("runs/pics", 4)));
  EXPECT_TRUE(std::filesystem::exists(checkpoint("runs/pics", 6)));
  EXPECT_EQ(text("runs/pics/init.toml"), chosen);

  expect_error(
      {"train", "other/pics"}, 2,
      "the run runs/pics is trained on pics, not on other/pics; choose another folder with "
      "--out");
}

TEST_F(Init, DryRunOnPicturesWritesNothing) {
  write_pictures("pics");
  const ProgramResult result = run({"train", "pics", "--minutes", "1", "--dry-run"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_CONTAINS(result.out, "nothing was trained and nothing written");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "runs"));
}

TEST_F(Init, MistakesAreNamedInOneLine) {
  std::filesystem::create_directories(folder_ / "empty");
  write_pictures("pics");
  expect_error({"init", "nowhere"}, 1, "nowhere: does not exist");
  expect_error({"init", "empty"}, 1, "empty: no images in this image folder");
  expect_error({"init"}, 2, "ddpm init --help lists the flags");
  expect_error({"init", "pics", "--size", "30"}, 2, "--size is 30; use a multiple of 4");
  expect_error({"init", "pics", "--minutes", "0"}, 2, "--minutes: is 0; must be a number from 0.5");
  expect_error({"init", "pics", "--device", "gpu"}, 2, "gpu");
  expect_error({"init", "pics", "--out", "pics/a.toml"}, 2, "choose a path outside");
  expect_error({"train", "nowhere"}, 1, "nowhere: does not exist");
  expect_error({"train", "pics", "--out", "pics/run"}, 2, "lies in data.path");
  expect_error({"train", "pics", "--config", "tiny.toml"}, 2, "give pics or --config, not both");
  expect_error({"train", "--config", "tiny.toml", "--minutes", "5"}, 2, "set train.steps");
  expect_error({"train", "--config", "tiny.toml", "--size", "32"}, 2, "set data.image_size");
  expect_error({"train", "pics", "--init-from", "x"}, 2, "--init-from goes with --config");
  expect_error({"train", "pics", "--finish"}, 2, "--finish goes with --config");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "runs"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "pics.toml"));
}

}  // namespace
}  // namespace ddpm
