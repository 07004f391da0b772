#include "ddpm/nn/model_file.h"

#include "golden.h"
#include "tests/io/temporary_folder.h"

#include <fstream>

#include <gtest/gtest.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>

namespace ddpm::nn {
namespace {

// A golden network and its weights as a file of their own.
struct Saved {
  explicit Saved(const std::string& name) : golden(load_golden(name)) {
    io::write_safetensors(path(), named_weights(*golden.net));
  }
  TemporaryFolder folder;
  Golden golden;
  std::filesystem::path path() const { return folder / "weights.safetensors"; }
};

std::string complaint(const std::function<void()>& act) {
  try {
    act();
  } catch (const IoError& error) {
    return error.what();
  }
  return "";
}

ModelDescription parsed(const std::string& text) {
  config::Document document = config::Document::parse(text, "model.toml");
  ModelDescription description = read_model_description(document);
  document.check_all_read();
  return description;
}

TEST(ModelDescription, IsComparedByWhatItMeans) {
  const std::string text =
      "[image]\nchannels = 1\nheight = 8\nwidth = 8\nclasses = 2\nclass_names = ['a', 'b']\n"
      "[model]\nchannels = 8\nchannel_multipliers = [1, 2]\nblocks = 1\n"
      "attention_resolutions = [8, 4]\ngroups = 4\ndropout = 0.1\nclass_conditional = true\n"
      "[diffusion]\nschedule = 'cosine'\ntimesteps = 20\n";
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    const size_t at = changed.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return parsed(changed.replace(at, from.size(), to));
  };
  const auto same = [&](const ModelDescription& other) {
    return without_unused(parsed(text)) == without_unused(other);
  };
  // Order, spelling, defaults, and keys that the schedule does not read.
  EXPECT_TRUE(same(with("channels = 8\nchannel_multipliers = [1, 2]",
                        "channel_multipliers = [ 1,2 ]\nchannels = 0x8\nheads = 1")));
  EXPECT_TRUE(same(with("[8, 4]", "[4, 8, 8]")));
  EXPECT_TRUE(same(with("dropout = 0.1", "dropout = 1e-1\nmid_attention = true")));
  EXPECT_TRUE(same(with("timesteps = 20", "timesteps = 20\nbeta_end = 0.5\nprediction = 'eps'")));
  // Everything that the weights or their use depend on.
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"channels = 8", "channels = 16"},
           {"[8, 4]", "[4]"},
           {"[8, 4]", "[8, 4]\nmid_attention = false"},
           {"[8, 4]", "[8, 4]\nheads = 2"},
           {"[8, 4]", "[8, 4]\ntime_scale = 2"},
           {"[8, 4]", "[8, 4]\ntime_embedding = 'cos_sin'"},
           {"groups = 4", "groups = 2"},
           {"dropout = 0.1", "dropout = 0.2"},
           {"timesteps = 20", "timesteps = 21"},
           {"timesteps = 20", "timesteps = 20\ncosine_s = 0.1"},
           {"timesteps = 20", "timesteps = 20\nprediction = 'v'"},
           {"'cosine'", "'linear'"},
           {"'a', 'b'", "'b', 'a'"},
           {"channels = 1", "channels = 3"},
           {"height = 8", "height = 16"}}) {
    EXPECT_FALSE(same(with(from, to))) << from << " -> " << to;
  }
  // Classes are nothing to a network that ignores them.
  const auto plain = [&](const std::string& classes) {
    return without_unused(
        parsed("[image]\nclasses = " + classes + "\n[model]\nattention_resolutions = []"));
  };
  EXPECT_TRUE(plain("0") == plain("2\nclass_names = ['a', 'b']"));
}

TEST(ModelDescription, HoldsClassNamesThatAreNotUtf8AsEscapes) {
  ModelDescription description;
  description.unet.image.classes = 2;
  description.class_names = {"caf\xE9", "bar"};
  EXPECT_EQ(parsed(to_toml(description)).class_names,
            (std::vector<std::string>{"caf\\xE9", "bar"}));
}

TEST(ModelDescription, ReadsBackWhatWasWritten) {
  config::Document document = config::Document::parse(
      "[model]\nchannels = 64\nchannel_multipliers = [1, 2]\nblocks = 1\nattention_resolutions = "
      "[7]\ngroups = 16\nclass_conditional = true\n[diffusion]\nschedule = \"cosine\"\ntimesteps = "
      "250\nprediction = \"v\"\n[train]\nsteps = 5\n",
      "run.toml");
  const ImageSpec image{1, 14, 28, 3};
  config::Reader model = document.section("model"), diffusion = document.section("diffusion");
  UNetConfig unet = read_unet_config(model);
  fit_to_images_(unet, image, model);
  const auto process = diffusion::read_diffusion_config(diffusion);
  const std::vector<std::string> names{"zero", "a \"quoted\" one", "größe"};

  const TemporaryFolder folder;
  std::ofstream(folder / "model.toml") << to_toml({unet, process, names});
  const ModelDescription read = read_model_description(folder / "model.toml");
  EXPECT_EQ(read.unet.image.channels, 1);
  EXPECT_EQ(read.unet.image.height, 14);
  EXPECT_EQ(read.unet.image.width, 28);
  EXPECT_EQ(read.unet.image.classes, 3);
  EXPECT_EQ(read.class_names, names);
  EXPECT_EQ(read.unet.channels, 64);
  EXPECT_EQ(read.unet.channel_multipliers, unet.channel_multipliers);
  EXPECT_EQ(attention_levels(read.unet), (std::vector<int64_t>{1}));
  EXPECT_TRUE(read == (ModelDescription{unet, process, names}));
  EXPECT_TRUE(read.unet.class_conditional);
  EXPECT_EQ(read.diffusion.prediction, process.prediction);
  EXPECT_EQ(read.diffusion.schedule.timesteps, 250);
  EXPECT_EQ(read.diffusion.schedule.kind, process.schedule.kind);
}

TEST(ModelDescription, WithASectionTooManyIsRefused) {
  const TemporaryFolder folder;
  std::ofstream(folder / "model.toml") << "[image]\nchannels = 3\n[train]\nsteps = 5\n";
  EXPECT_THROW(read_model_description(folder / "model.toml"), ConfigError);
  EXPECT_THROW(read_model_description(folder / "other.toml"), IoError);
}

TEST(Load, RestoresEveryWeight) {
  const Saved saved("classes");
  UNet loaded(saved.golden.config);
  loaded->to(torch::kDouble);
  load_(*loaded, io::read_safetensors(saved.path()), saved.path());
  const auto expected = saved.golden.net->named_parameters();
  for (const auto& item : loaded->named_parameters())
    EXPECT_TRUE(item.value().equal(expected[item.key()])) << item.key();
}

TEST(Load, NamesWhatDoesNotFit) {
  const Saved saved("ho");
  const std::string path = saved.path().string();
  const auto load = [&](const UNetConfig& config) {
    return complaint([&] {
      UNet unet(config);
      load_(*unet, io::read_safetensors(path), path);
    });
  };
  UNetConfig config = saved.golden.config;
  EXPECT_EQ(load(config), "");
  config.blocks = 3;
  EXPECT_EQ(load(config), path +
                              ": holds no tensor down_blocks.0.resnets.2.norm1.weight; it "
                              "belongs to another network");
  config = saved.golden.config;
  config.channels = 16;
  EXPECT_EQ(
      load(config),
      path + ": tensor conv_in.weight has shape [8, 3, 3, 3], the network's has [16, 3, 3, 3]");
  config = saved.golden.config;
  config.mid_attention = false;
  EXPECT_NE(load(config).find("; it belongs to another network"), std::string::npos);
}

TEST(LoadWeights, TakesAPrefix) {
  const TemporaryFolder folder;
  torch::nn::Linear module(2, 3);
  const std::vector<torch::Tensor> averages{torch::full({3, 2}, 4.0), torch::full({3}, 5.0)};
  io::write_safetensors(folder / "f.safetensors", named_weights(*module, averages, "ema."));
  const auto file = io::SafetensorsFile::open(folder / "f.safetensors");
  EXPECT_EQ(file.names(), (std::vector<std::string>{"ema.weight", "ema.bias"}));
  load_weights_(file, *module, module->parameters(), "ema.");
  EXPECT_TRUE(module->weight.equal(averages[0]));
  EXPECT_TRUE(module->bias.equal(averages[1]));
  EXPECT_NE(complaint([&] { load_weights_(file, *module, module->parameters()); }), "");
}

const diffusion::Diffusion kPlain{diffusion::DiffusionConfig{}};

TEST(MakeDenoiser, FeedsTheNetworkTimeMinusOne) {
  Golden golden = load_golden("ho");
  const diffusion::Denoiser denoiser = make_denoiser(golden.net, kPlain, Precision::kFp64);
  const torch::Tensor prediction = denoiser(golden.get("x"), golden.get("t") + 1);
  EXPECT_LT(relative_error(prediction, golden.get("output")), golden.tolerance());
  EXPECT_FALSE(prediction.requires_grad());
}

TEST(MakeDenoiser, GivesEveryImageItsLabel) {
  Golden golden = load_golden("classes");
  const torch::Tensor x = golden.get("x"), t = golden.get("t");
  for (const int64_t label : {0, 4}) {
    const torch::Tensor prediction =
        make_denoiser(golden.net, kPlain, Precision::kFp64, torch::full_like(t, label))(x, t + 1);
    EXPECT_LT(relative_error(prediction, golden.net(x, t, torch::full({2}, label, torch::kLong))),
              1e-12);
  }
}

}  // namespace
}  // namespace ddpm::nn
