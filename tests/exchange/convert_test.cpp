#include "ddpm/base/error.h"
#include "ddpm/exchange/diffusers_config.h"
#include "ddpm/exchange/model.h"
#include "ddpm/exchange/write.h"
#include "ddpm/io/safetensors.h"
#include "ddpm/io/torch_file.h"
#include "src/exchange/model_text.h"
#include "tests/exchange/fixture.h"
#include "tests/io/temporary_folder.h"

#include <cstring>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/nn/module.h>
#include <torch/serialize.h>

namespace ddpm::exchange {
namespace {

namespace fs = std::filesystem;

class RoundTrip : public testing::TestWithParam<std::string> {
 protected:
  TemporaryFolder folder_;
};
INSTANTIATE_TEST_SUITE_P(Folders, RoundTrip,
                         testing::Values("library", "classes", "shift", "google"),
                         [](const auto& info) { return info.param; });

TEST_P(RoundTrip, DiffusersFoldersComeBackBitForBit) {
  const Model model = read_model(kGolden / GetParam());
  save(model, folder_ / "copy", Format::kDiffusers);
  expect_same(model, read_model(folder_ / "copy"));
}

TEST_P(RoundTrip, SafetensorsDescribeThemselves) {
  const Model model = read_model(kGolden / GetParam());
  save(model, folder_ / "copy.safetensors", Format::kSafetensors);
  expect_same(model, read_model(folder_ / "copy.safetensors"));
}

TEST_P(RoundTrip, TorchFilesDescribeThemselves) {
  const Model model = read_model(kGolden / GetParam());
  save(model, folder_ / "copy.pt", Format::kTorch);
  expect_same(model, read_model(folder_ / "copy.pt"));
}

TEST_P(RoundTrip, OtherTorchFilesNeedADescriptionBesideThem) {
  const Model model = read_model(kGolden / GetParam());
  io::write_torch_file(folder_ / "copy.pt", model.weights);
  EXPECT_NE(message_of([&] { read_model(folder_ / "copy.pt"); }).find("model.toml"),
            std::string::npos);
  io::write_file_synced(folder_ / "copy.toml",
                        nn::to_toml(model.description) + config::to_toml(model.sample, "sample"));
  expect_same(model, read_model(folder_ / "copy.pt"));
}

TEST_P(RoundTrip, FilesAreReadByWhatTheyHoldWhateverTheirNames) {
  const Model model = read_model(kGolden / GetParam());
  for (const Format format : {Format::kSafetensors, Format::kTorch}) {
    for (const char* name : {"copy", "copy.weights", "copy.model-v1.2"}) {
      save(model, folder_ / name, format);
      expect_same(model, read_model(folder_ / name));
      fs::remove(folder_ / name);
    }
  }
  save(model, folder_ / "copy.pt", Format::kTorch);  // what someone else named wrongly
  fs::rename(folder_ / "copy.pt", folder_ / "torch.safetensors");
  expect_same(model, read_model(folder_ / "torch.safetensors"));
  save(model, folder_ / "copy.safetensors", Format::kSafetensors);
  fs::rename(folder_ / "copy.safetensors", folder_ / "safetensors.pt");
  expect_same(model, read_model(folder_ / "safetensors.pt"));
}

TEST(Convert, AnEndingThatPromisesAnotherFormatIsRefused) {
  TemporaryFolder folder;
  const Model model = read_model(kGolden / "google");
  for (const auto& [name, format] : {std::pair("x.pt", Format::kSafetensors),
                                     {"x.bin", Format::kSafetensors},
                                     {"x.safetensors", Format::kTorch},
                                     {"x.safetensors", Format::kTorchModule},
                                     {"x.safetensors", Format::kDiffusers},
                                     {"x.ckpt", Format::kDiffusers}}) {
    EXPECT_THROW(save(model, folder / name, format), UsageError) << name;
    EXPECT_FALSE(fs::exists(folder / name)) << name;
  }
}

TEST_P(RoundTrip, TheArchiveOfAModuleIsLoadedByLibTorch) {
  const Model model = read_model(kGolden / GetParam());
  save(model, folder_ / "copy.pt", Format::kTorchModule);
  nn::UNet unet(model.description.unet);
  torch::load(unet, (folder_ / "copy.pt").string());
  for (const io::NamedTensor& weight : model.weights)
    EXPECT_TRUE(torch::equal(*unet->named_parameters().find(weight.name), weight.tensor));
}

TEST_P(RoundTrip, WeightsLoadedIntoANetworkAreTheSameBits) {
  const Model model = read_model(kGolden / GetParam());
  const nn::UNet unet = make_unet(model, torch::kCPU, nn::Precision::kFp32);
  Model back = model;
  back.weights = nn::named_weights(*unet);
  expect_same_weights(model, back);
}

TEST(Convert, EveryOptionOfANetworkIsWrittenAndReadAgain) {
  Model model;
  nn::UNetConfig& c = model.description.unet;
  c.image = {.channels = 2, .height = 8, .width = 12, .classes = 3};
  c.channels = 8;
  c.channel_multipliers = {2, 4};
  c.blocks = 1;
  nn::set_attention_levels_(c, {0, 1});
  c.mid_attention = false;
  c.heads = 2;
  c.dropout = 0.25;
  c.groups = 4;
  c.norm_eps = 1e-5;
  c.same_padding = false;
  c.sinusoid = {.cosine_first = true, .freq_shift = 0.5, .scale = 0.25};
  c.time_scale_shift = c.residual_resample = c.learned_variance = c.class_conditional = true;
  model.description.class_names = {"a", "b \"quoted\"\\", "c\n"};
  model.description.diffusion.prediction = diffusion::Prediction::kV;
  model.description.diffusion.schedule.kind = diffusion::ScheduleKind::kTable;
  model.description.diffusion.schedule.timesteps = 3;
  model.description.diffusion.schedule.betas = {0.1, 1.0 / 3.0, 1.0};
  model.sample = {.method = sample::kDdim, .steps = 2, .eta = 0.1};
  model.sample.clip_range = 0.75;
  model.sample.steps_offset = 1;
  model.sample.last_alpha = sample::LastAlpha::kFirst;
  Model back;
  parse_model_text(nn::to_toml(model.description) + config::to_toml(model.sample, "sample"), "text",
                   back);
  EXPECT_EQ(nn::to_toml(back.description), nn::to_toml(model.description));
  EXPECT_EQ(config::to_toml(back.sample, "sample"), config::to_toml(model.sample, "sample"));
  EXPECT_EQ(back.description.class_names, model.description.class_names);
  EXPECT_EQ(back.description.diffusion.schedule.betas, model.description.diffusion.schedule.betas);
  EXPECT_EQ(back.description.unet.attention_resolutions, c.attention_resolutions);
  EXPECT_TRUE(back.description.unet.learned_variance && back.description.unet.residual_resample);
  EXPECT_EQ(back.description.unet.sinusoid.scale, 0.25);
}

TEST(Convert, NothingIsOverwrittenAndNothingHalfWrittenStays) {
  TemporaryFolder folder;
  Model model = read_model(kGolden / "google");
  for (const Format format : {Format::kDiffusers, Format::kSafetensors, Format::kTorch}) {
    io::write_file_synced(folder / "there", std::string_view("mine"));
    EXPECT_NE(message_of([&] { save(model, folder / "there", format); }).find("already exists"),
              std::string::npos);
    EXPECT_EQ(io::read_text(folder / "there"), "mine");
  }
  model.description.diffusion.prediction = diffusion::Prediction::kMu;
  EXPECT_THROW(save(model, folder / "new", Format::kDiffusers), UsageError);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

TEST(Convert, NetworksThatDiffusersHasNotAreRefusedByTheirKey) {
  const nn::UNetConfig base = read_model(kGolden / "google").description.unet;
  nn::UNetConfig c = base;
  c.channel_multipliers = {2, 4};
  EXPECT_NE(message_of([&] { unet_config_text(c, {}); }).find("channel_multipliers"),
            std::string::npos);
  c = base;
  c.sinusoid.scale = 0.25;
  EXPECT_NE(message_of([&] { unet_config_text(c, {}); }).find("time_scale"), std::string::npos);
  c = base;
  c.heads = 2;
  nn::set_attention_levels_(c, {0, 1});
  EXPECT_NE(message_of([&] { unet_config_text(c, {}); }).find("heads"), std::string::npos);
  c = base;
  c.self_condition = true;
  EXPECT_NE(message_of([&] { unet_config_text(c, {}); }).find("self_condition"), std::string::npos);
}

// A network with labels of the augmentation is written without them: its samples do not read them.
TEST(Convert, LabelsOfTheAugmentationAreLeftOutForDiffusers) {
  TemporaryFolder folder;
  Model model = read_model(kGolden / "google");
  const Model plain = model;
  model.description.unet.augment_labels = true;
  model.weights.push_back({"augment_embedding.weight",
                           torch::ones({model.description.unet.channels, nn::kAugmentLabels})});
  save(model, folder / "copy", Format::kDiffusers);
  expect_same(plain, read_model(folder / "copy"));
  save(model, folder / "copy.safetensors", Format::kSafetensors);
  expect_same(model, read_model(folder / "copy.safetensors"));
}

TEST(Import, UnknownNetworksAreRefused) {
  EXPECT_NE(message_of([] { read_model(kGolden / "openai_conv.pt"); }).find("--image-size"),
            std::string::npos);
  Hints hints;
  hints.image_size = 8;
  EXPECT_NE(message_of([&] { read_model(kGolden / "openai_conv.pt", "", hints); }).find("--heads"),
            std::string::npos);
  EXPECT_NE(message_of([&] { read_model(kGolden / "library", "", hints); }).find("--image-size"),
            std::string::npos)
      << "a folder says it itself";
  TemporaryFolder folder;
  io::write_torch_file(folder / "other.pt", {{"layer.weight", torch::zeros({2})}});
  EXPECT_NE(message_of([&] { read_model(folder / "other.pt"); }).find("layer.weight"),
            std::string::npos);
  EXPECT_NE(message_of([&] { read_model(folder.path()); }), "(no error)");
}

TEST(Import, AWeightThatNeedsAnObjectIsRefusedByItsName) {
  const std::string message =
      message_of([] { read_model(kGolden.parent_path() / "torch_object.pt"); });
  EXPECT_NE(message.find("no network that is known"), std::string::npos)
      << "the object beside it does not matter: " << message;
  TemporaryFolder folder;
  fs::copy_file(kGolden.parent_path() / "torch_array.pt", folder / "a.pt");
  const std::string array = message_of([&] { read_model(folder / "a.pt"); });
  EXPECT_NE(array.find("conv.weight as numpy"), std::string::npos) << array;
}

// --- what diffusers' training leaves
fs::path training_folder(const TemporaryFolder& folder) {
  const fs::path checkpoint = folder / "checkpoint-5";
  const Model model = read_model(kGolden / "library");
  fs::create_directories(checkpoint / "unet_ema");
  fs::copy(kGolden / "library" / "unet", checkpoint / "unet");
  // With the settings of the average, as EMAModel saves it (scripts/make_exchange_ports_golden.py).
  fs::copy_file(kGolden.parent_path() / "ports" / "unet_ema.json",
                checkpoint / "unet_ema" / "config.json");
  std::vector<io::NamedTensor> half;
  for (const io::NamedTensor& t : model.weights) half.push_back({t.name, t.tensor * 0.5});
  io::write_safetensors(checkpoint / "unet_ema" / "diffusion_pytorch_model.safetensors", half);
  return checkpoint;
}

TEST(TrainingFolder, HasRawAndAveragedWeights) {
  TemporaryFolder folder;
  const fs::path checkpoint = training_folder(folder);
  const Model model = read_model(kGolden / "library");
  const Model ema = read_model(checkpoint), raw = read_model(checkpoint, "raw");
  EXPECT_EQ(ema.weights_name, "ema");
  EXPECT_EQ(raw.weights_name, "raw");
  for (size_t i = 0; i < model.weights.size(); ++i) {
    EXPECT_TRUE(torch::equal(raw.weights[i].tensor, model.weights[i].tensor));
    EXPECT_TRUE(torch::equal(ema.weights[i].tensor, model.weights[i].tensor * 0.5));
  }
  EXPECT_EQ(read_model(checkpoint / "unet_ema").weights_name, "ema");
  EXPECT_THROW(read_model(checkpoint, "ema-2"), UsageError);
  fs::remove_all(checkpoint / "unet");
  EXPECT_EQ(read_model(checkpoint).weights_name, "ema");
  EXPECT_THROW(read_model(checkpoint, "raw"), UsageError);
}

TEST(TrainingFolder, WithoutASchedulerFlagsSayHowItWasTrained) {
  TemporaryFolder folder;
  const fs::path checkpoint = training_folder(folder);
  const Model assumed = read_model(checkpoint);
  EXPECT_EQ(assumed.description.diffusion.schedule.kind, diffusion::ScheduleKind::kLinear);
  EXPECT_EQ(assumed.description.diffusion.schedule.timesteps, 1000);
  EXPECT_EQ(assumed.description.diffusion.prediction, diffusion::Prediction::kEpsilon);
  Hints hints;
  hints.timesteps = 4000;
  hints.schedule = "cosine";
  hints.prediction = "v";
  const Model said = read_model(checkpoint, "", hints);
  EXPECT_EQ(said.description.diffusion.schedule.kind, diffusion::ScheduleKind::kCosine);
  EXPECT_EQ(said.description.diffusion.schedule.timesteps, 4000);
  EXPECT_EQ(said.description.diffusion.prediction, diffusion::Prediction::kV);
  EXPECT_EQ(said.sample.steps, 1000) << "DDPMPipeline's default";
  // The finished pipeline around it says it.
  fs::copy(kGolden / "classes" / "scheduler", folder / "scheduler");
  for (const fs::path& source : {checkpoint, checkpoint / "", checkpoint / "unet"})
    EXPECT_EQ(read_model(source).description.diffusion.prediction, diffusion::Prediction::kV)
        << source;
  EXPECT_THROW(read_model(checkpoint, "", hints), UsageError);
}

TEST(Variants, HalfPrecisionIsReadIfItIsAllThereIs) {
  for (const std::string name :
       {"diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.fp16.bin"}) {
    TemporaryFolder folder;
    const fs::path copy = folder / "copy";
    fs::copy(kGolden / "library", copy, fs::copy_options::recursive);
    const Model model = read_model(copy);
    std::vector<io::NamedTensor> half;
    for (const io::NamedTensor& t : model.weights)
      half.push_back({t.name, t.tensor.to(torch::kHalf)});
    if (name.ends_with("bin")) {
      io::write_torch_file(copy / "unet" / name, half);
    } else {
      io::write_safetensors(copy / "unet" / name, half);
    }
    EXPECT_EQ(read_model(copy).weights[0].tensor.scalar_type(), torch::kFloat) << "the whole ones";
    fs::remove(copy / "unet" / "diffusion_pytorch_model.safetensors");
    const Model read = read_model(copy);
    for (size_t i = 0; i < half.size(); ++i)
      EXPECT_TRUE(torch::equal(read.weights[i].tensor, half[i].tensor)) << half[i].name;
    fs::rename(copy / "unet" / name, copy / "unet" / "diffusion_pytorch_model.a.bin");
    fs::copy(copy / "unet" / "diffusion_pytorch_model.a.bin",
             copy / "unet" / "diffusion_pytorch_model.b.bin");
    EXPECT_NE(message_of([&] { read_model(copy); }).find("variants a, b"), std::string::npos);
  }
}

// Every flip of a bit gives a config that is read, or one that is refused with its reason.
TEST(Import, DamagedConfigsDoNoHarm) {
  TemporaryFolder folder(memory_folder());
  for (const char* name : {"config.json", "scheduler_config.json", "diffusion_pytorch_model.bin"})
    fs::copy_file(kGolden / "google" / name, folder / name);
  for (const char* name : {"config.json", "scheduler_config.json"}) {
    const std::string text = io::read_text(folder / name);
    for (size_t bit = 0; bit < 8 * text.size(); bit += 5) {
      std::string damaged = text;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
      io::write_file_synced(folder / name, damaged);
      try {
        read_model(folder.path());
      } catch (const Error&) {
      } catch (const std::exception& error) {
        FAIL() << name << ", bit " << bit << ": " << error.what() << "\n" << damaged;
      }
    }
    io::write_file_synced(folder / name, text);
  }
}

TEST(Import, ATensorTooFewOrTooManyIsNamed) {
  const Model model = read_model(kGolden / "google");
  auto fewer = model.weights, more = model.weights;
  fewer.pop_back();
  more.push_back({"extra.weight", torch::zeros({1})});
  const nn::UNetConfig& c = model.description.unet;
  EXPECT_NE(message_of([&] { arranged(fewer, c, "f"); }).find(model.weights.back().name),
            std::string::npos);
  EXPECT_NE(message_of([&] { arranged(more, c, "f"); }).find("extra.weight"), std::string::npos);
}

TEST(Import, OpenAisScheduleAndVarianceComeFromFlagsAndShapes) {
  Hints hints;
  hints.image_size = 8;
  hints.head_channels = 4;
  hints.groups = 2;
  hints.timesteps = 4000;
  hints.rescale_timesteps = true;
  const Model model = read_model(kGolden / "openai_conv.pt", "", hints);
  const diffusion::Schedule schedule(model.description.diffusion.schedule);
  EXPECT_DOUBLE_EQ(schedule.beta(1), 1e-4 / 4);  // IDDPM's linear schedule scales with 1000 / T
  EXPECT_DOUBLE_EQ(schedule.beta(4000), 0.02 / 4);
  EXPECT_EQ(model.description.unet.sinusoid.scale, 0.25);
  EXPECT_EQ(model.description.unet.blocks, 2);
  EXPECT_FALSE(model.description.unet.learned_variance);
  EXPECT_EQ(model.sample.sigma, sample::Sigma::kLarge) << "sigma_small is off there";
  EXPECT_EQ(model.sample.spacing, sample::Spacing::kOpenai);
  const Model learned = read_model(kGolden / "openai_shift.pt", "", hints);
  EXPECT_EQ(learned.sample.sigma, sample::Sigma::kLearned);
  EXPECT_EQ(learned.sample.spacing, sample::Spacing::kOpenai);
}

}  // namespace
}  // namespace ddpm::exchange
