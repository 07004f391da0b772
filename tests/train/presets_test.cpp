#include "ddpm/io/file.h"
#include "ddpm/train/experiment.h"

#include <regex>

#include <gtest/gtest.h>

namespace ddpm::train {
namespace {

namespace fs = std::filesystem;

struct Preset {
  const char* name;
  nn::ImageSpec image;
};

class Presets : public testing::TestWithParam<Preset> {};

// Every preset reads without an unknown key, and its network has the number of parameters that its
// first lines say.
TEST_P(Presets, ReadsAndHasTheParametersItClaims) {
  const fs::path path =
      fs::path(DDPM_SOURCE_DIR) / "configs" / (std::string(GetParam().name) + ".toml");
  config::Document document = config::Document::load(path);
  Experiment experiment = read_experiment(document);
  config::Reader model = document.section("model");
  nn::fit_to_images_(experiment.unet, GetParam().image, model);
  const nn::UNet unet(experiment.unet);

  std::smatch match;
  const std::string text = io::read_text(path);
  ASSERT_TRUE(std::regex_search(text, match, std::regex("Network: ([0-9,]+) parameters"))) << path;
  EXPECT_EQ(std::regex_replace(match[1].str(), std::regex(","), ""),
            std::to_string(nn::parameter_count(*unet)));
}

INSTANTIATE_TEST_SUITE_P(
    All, Presets,
    testing::Values(Preset{"smoke", {3, 16, 16, 8}}, Preset{"quickstart", {3, 24, 24, 8}},
                    Preset{"mnist", {1, 28, 28, 10}}, Preset{"folder", {3, 64, 64, 0}},
                    Preset{"superres", {3, 64, 64, 0}}, Preset{"colourise", {3, 64, 64, 0}},
                    Preset{"cifar10", {3, 32, 32, 10}}, Preset{"cifar10_edm", {3, 32, 32, 10}},
                    Preset{"celeba64", {3, 64, 64, 0}}, Preset{"celebahq256", {3, 256, 256, 0}},
                    Preset{"lsun256", {3, 256, 256, 0}}, Preset{"fashion_mnist", {1, 28, 28, 10}},
                    Preset{"cifar10_small", {3, 32, 32, 10}},
                    Preset{"folder_small", {3, 32, 32, 0}}, Preset{"bench_small", {1, 32, 32, 8}}),
    [](const auto& info) { return info.param.name; });

TEST(PresetFolder, AllOfTheFolderAreTested) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(DDPM_SOURCE_DIR) / "configs")) {
    count += entry.path().extension() == ".toml";
  }
  EXPECT_EQ(count, 15);
}

TEST(Experiment, EffectiveConfigReadsBackAsItself) {
  config::Document document =
      config::Document::load(fs::path(DDPM_SOURCE_DIR) / "configs" / "cifar10.toml");
  document.set("data.image_size=[32, 48]");
  read_experiment(document);
  const std::string text = document.effective();
  config::Document again = config::Document::parse(text, "again");
  read_experiment(again);
  EXPECT_EQ(again.effective(), text);
}

// Without signal at T a chain must begin there.
TEST(Experiment, ZeroTerminalSnrSamplesFromTUnlessToldOtherwise) {
  const auto spacing = [](const std::string& more) {
    auto document = config::Document::parse(
        "[diffusion]\nprediction = 'v'\nzero_terminal_snr = true\n" + more, "test.toml");
    const Experiment e = read_experiment(document);
    auto again = config::Document::parse(document.effective(), "effective.toml");
    EXPECT_EQ(read_experiment(again).sample.spacing, e.sample.spacing) << "in the run's config too";
    return config::to_string(e.sample.spacing);
  };
  EXPECT_EQ(spacing(""), "trailing");
  EXPECT_EQ(spacing("[sample]\nspacing = 'linspace'\n"), "linspace");
}

TEST(Experiment, BatchThatDoesNotDivideNamesBatchesThatDo) {
  config::Document document = config::Document::parse(
      "[data]\nkind = \"procedural\"\n[train]\nbatch_size = 10\naccumulate = 4\n", "x.toml");
  try {
    read_experiment(document);
    FAIL() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(),
                 "x.toml:4:14: train.batch_size: is 10, which is not divisible by 4 accumulation "
                 "rounds; use 8 or 12");
  }
}

}  // namespace
}  // namespace ddpm::train
