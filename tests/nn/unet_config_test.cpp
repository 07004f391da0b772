#include "ddpm/nn/unet.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::nn::unet_config_test {
namespace {

UNetConfig read(const std::string& model, const ImageSpec& image = {3, 32, 32, 10}) {
  config::Document document = config::Document::parse("[model]\n" + model, "run.toml");
  config::Reader reader = document.section("model");
  UNetConfig config = read_unet_config(reader);
  fit_to_images_(config, image, reader);
  document.check_all_read();
  return config;
}

std::string complaint(const std::string& model, const ImageSpec& image = {3, 32, 32, 10}) {
  try {
    read(model, image);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(UNetConfig, IsHosCifarNetworkByDefault) {
  const UNetConfig c = read("");
  EXPECT_EQ(parameter_count(*UNet(c)), 35'746'307);
  EXPECT_EQ(attention_levels(c), (std::vector<int64_t>{1}));
  EXPECT_TRUE(c.mid_attention && c.same_padding && !c.class_conditional);
  EXPECT_FALSE(c.sinusoid.cosine_first);
  EXPECT_EQ(c.sinusoid.freq_shift, 1.0);
  EXPECT_EQ(c.norm_eps, 1e-6);
  EXPECT_EQ(c.head_channels, 0);
}

TEST(UNetConfig, ReadsEveryKey) {
  const UNetConfig c = read(
      "channels = 48\nchannel_multipliers = [1, 3]\nblocks = 3\n"
      "attention_resolutions = [16, 32, 16]\nmid_attention = false\nhead_channels = 24\n"
      "dropout = 0.25\ngroups = 16\nnorm_eps = 1e-5\ndownsample_padding = 'symmetric'\n"
      "time_embedding = 'cos_sin'\ntime_freq_shift = 0\nclass_conditional = true\n");
  EXPECT_EQ(c.channels, 48);
  EXPECT_EQ(c.channel_multipliers, (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(c.blocks, 3);
  EXPECT_EQ(attention_levels(c), (std::vector<int64_t>{0, 1}));
  EXPECT_FALSE(c.mid_attention);
  EXPECT_EQ(c.head_channels, 24);
  EXPECT_EQ(c.dropout, 0.25);
  EXPECT_EQ(c.groups, 16);
  EXPECT_EQ(c.norm_eps, 1e-5);
  EXPECT_FALSE(c.same_padding);
  EXPECT_TRUE(c.sinusoid.cosine_first);
  EXPECT_EQ(c.sinusoid.freq_shift, 0.0);
  EXPECT_TRUE(c.class_conditional);
  EXPECT_EQ(c.image.classes, 10);
}

TEST(UNetConfig, UsesTheClassesOfTheDataIfAskedTo) {
  const auto read_auto = [](int64_t classes, std::string& effective) {
    config::Document document =
        config::Document::parse("[model]\nclass_conditional = \"auto\"\n", "run.toml");
    config::Reader reader = document.section("model");
    UNetConfig config = read_unet_config(reader);
    EXPECT_FALSE(config.class_conditional);
    fit_to_images_(config, {3, 32, 32, classes}, reader);
    effective = document.effective();
    return config.class_conditional;
  };
  std::string effective;
  EXPECT_TRUE(read_auto(10, effective));
  EXPECT_NE(effective.find("class_conditional = true\n"), std::string::npos) << effective;
  EXPECT_FALSE(read_auto(0, effective));
  EXPECT_NE(effective.find("class_conditional = false\n"), std::string::npos) << effective;
  EXPECT_FALSE(read_auto(1, effective)) << "one class says nothing";
  EXPECT_EQ(complaint("class_conditional = 'yes'"),
            "run.toml:2:21: model.class_conditional: is \"yes\" (string); must be true, false or "
            "\"auto\"");
}

TEST(UNetConfig, TakesNoAttention) {
  EXPECT_TRUE(attention_levels(read("attention_resolutions = []")).empty());
}

TEST(UNetConfig, AResolutionIsTheShorterSide) {
  const UNetConfig c = read("attention_resolutions = [12]", {3, 48, 24});
  EXPECT_EQ(attention_levels(c), (std::vector<int64_t>{1}));
}

// A program that does not know the data yet checks what it can.
TEST(UNetConfig, WithoutAnImageChecksAllButItsShape) {
  config::Document document = config::Document::parse("[model]\nchannels = 48\n", "run.toml");
  config::Reader reader = document.section("model");
  EXPECT_THROW(read_unet_config(reader), ConfigError);  // 32 groups
  document.set("model.groups=16");
  document.set("model.attention_resolutions=[7]");
  UNetConfig config = read_unet_config(reader);
  EXPECT_EQ(config.channels, 48);
  EXPECT_THROW(fit_to_images_(config, {1, 32, 32}, reader), ConfigError);  // no level has 7
}

TEST(UNetConfigErrors, NameTheNearestSizes) {
  EXPECT_EQ(complaint("channel_multipliers = [1, 2, 2, 2]", {1, 28, 28}),
            "run.toml:2:23: model.channel_multipliers: has 4 levels, which halve an image 3 times, "
            "but 28x28 does not divide by 8; set data.image_size to [24, 24] or [32, 32], or use "
            "fewer levels");
  EXPECT_EQ(complaint("channel_multipliers = [1, 2, 2]", {3, 6, 48}),
            "run.toml:2:23: model.channel_multipliers: has 3 levels, which halve an image 2 times, "
            "but 6x48 does not divide by 4; set data.image_size to [4, 48] or [8, 48], or use "
            "fewer levels");
  // Where the default does not fit, there is no line to point at.
  EXPECT_EQ(complaint("", {1, 28, 28}).substr(0, 42), "run.toml: model.channel_multipliers: has 4");
}

TEST(UNetConfigErrors, NameTheResolutionsThereAre) {
  EXPECT_EQ(
      complaint("channel_multipliers = [1, 2, 2]\nattention_resolutions = [8, 16]", {1, 28, 28}),
      "run.toml:3:25: model.attention_resolutions: holds 8; with 28x28 images and 3 levels "
      "the resolutions are 28, 14, 7; choose among them, or [] for no attention");
}

TEST(UNetConfigErrors, NameGroupsThatDoNotDivide) {
  EXPECT_EQ(complaint("channels = 64\ngroups = 24"),
            "run.toml:3:10: model.groups: is 24, which does not divide the 64 channels of a level; "
            "use a divisor of model.channels");
  // The default of 32 groups was not written: the channels were.
  EXPECT_EQ(complaint("channels = 48"),
            "run.toml:2:12: model.channels: makes a level of 48 channels, which model.groups = 32 "
            "does not divide; use a multiple of 32, or set model.groups");
  // The first convolution's width counts too, although no level has it.
  EXPECT_EQ(complaint("channels = 48\nchannel_multipliers = [2, 2]").substr(0, 43),
            "run.toml:2:12: model.channels: makes a leve");
}

TEST(UNetConfigErrors, NameHeadsThatDoNotDivideWhereThereIsAttention) {
  EXPECT_EQ(complaint("channels = 96\nhead_channels = 64"),
            "");  // attention only where there are 192 channels
  EXPECT_EQ(complaint("channels = 96\nhead_channels = 64\nattention_resolutions = [32]"),
            "run.toml:3:17: model.head_channels: is 64, which does not divide the 96 channels of a "
            "level with attention; use a divisor of them, or 0 for one head");
}

TEST(UNetConfigErrors, NameClassConditionWithoutLabels) {
  EXPECT_EQ(complaint("class_conditional = true", {3, 32, 32, 0}),
            "run.toml:2:21: model.class_conditional: is true, but the data has no labels; use data "
            "with labels, or set it to false");
}

TEST(UNetConfigErrors, NameValuesOutOfRange) {
  EXPECT_EQ(complaint("channels = 2"),
            "run.toml:2:12: model.channels: is 2; must be an integer, at least 4 and at most 4096");
  EXPECT_EQ(complaint("dropout = 1"),
            "run.toml:2:11: model.dropout: is 1.0; must be a number, at least 0 and below 1");
  EXPECT_EQ(complaint("channel_multipliers = []"),
            "run.toml:2:23: model.channel_multipliers: has 0 elements; must have at least 1");
  EXPECT_EQ(complaint("channel_multipliers = [1,1,1,1,1,1,1,1,1,1,1]"),
            "run.toml:2:23: model.channel_multipliers: has 11 levels; must have at most 10");
  EXPECT_EQ(
      complaint("downsample_padding = 'valid'"),
      "run.toml:2:22: model.downsample_padding: is \"valid\"; must be one of same, symmetric");
  EXPECT_NE(complaint("groups = 0"), "");
  EXPECT_NE(complaint("head_channels = -1"), "");
  EXPECT_NE(complaint("head_channels = 8\nheads = 2").find("leave one out"), std::string::npos);
  EXPECT_NE(complaint("heads = 3").find("heads: is 3"), std::string::npos);
}

// Whatever the reader accepts can be built and run.
TEST(UNetConfig, AcceptedNetworksRun) {
  for (const std::string model :
       {"channels = 4\nchannel_multipliers = [3]\ngroups = 4\nattention_resolutions = [8]",
        "channels = 4\nchannel_multipliers = [2, 1, 3]\ngroups = 1\nblocks = 1\n"
        "attention_resolutions = [2, 8]\nhead_channels = 2",
        "channels = 5\nchannel_multipliers = [1, 1, 1, 1]\ngroups = 5\nblocks = 2\n"
        "attention_resolutions = 1\nmid_attention = false",
        "channels = 4\nchannel_multipliers = [1, 2]\ngroups = 4\nattention_resolutions = [4]\n"
        "heads = 2\ntime_scale_shift = true\nresample = 'residual'\ntime_scale = 0.25"}) {
    UNet net(read(model, {2, 8, 16}));
    const torch::Tensor x = torch::randn({2, 2, 8, 16});
    const torch::Tensor output = net(x, torch::zeros({2}, torch::kLong));
    EXPECT_EQ(output.sizes(), x.sizes()) << model;
    EXPECT_TRUE(output.isfinite().all().item<bool>()) << model;
  }
}

}  // namespace
}  // namespace ddpm::nn::unet_config_test
