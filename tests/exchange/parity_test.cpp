#include "ddpm/exchange/diffusers_config.h"
#include "ddpm/exchange/model.h"
#include "ddpm/io/safetensors.h"
#include "ddpm/sample/reverse_process.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

// Networks and schedulers of other programs, and what those programs make of an input
// (scripts/make_exchange_golden.py).

namespace ddpm::exchange::parity_test {
namespace {

namespace fs = std::filesystem;

const fs::path kGolden = fs::path(DDPM_SOURCE_DIR) / "tests" / "golden" / "exchange";

struct Source {
  std::string name;  // of the golden outputs
  std::string file;  // the network
  Hints hints = {};
};

Hints openai_hints(bool new_order) {
  Hints hints;
  hints.image_size = 8;
  hints.heads = 2;
  hints.groups = 2;
  hints.new_attention_order = new_order;
  return hints;
}

Hints ho_hints() {
  Hints hints;
  hints.groups = 2;
  hints.image_size = 8;
  return hints;
}

const std::vector<Source> kSources = {
    {"library", "library"},
    {"classes", "classes"},
    {"shift", "shift"},
    {"google", "google"},
    {"google", "ddim.pth", ho_hints()},
    {"openai_shift", "openai_shift.pt", openai_hints(false)},
    {"openai_conv", "openai_conv.pt", openai_hints(true)},
};

double relative_error(const torch::Tensor& actual, const torch::Tensor& expected) {
  EXPECT_EQ(actual.sizes(), expected.sizes());
  if (actual.sizes() != expected.sizes()) return 1e9;
  return (actual - expected).abs().max().item<double>() / expected.abs().max().item<double>();
}

class Parity : public testing::TestWithParam<Source> {};
INSTANTIATE_TEST_SUITE_P(Networks, Parity, testing::ValuesIn(kSources), [](const auto& info) {
  std::string name = info.param.file;
  return name.substr(0, name.find('.'));
});

TEST_P(Parity, TheNetworksOutputIsTheOtherPrograms) {
  const Model model = read_model(kGolden / GetParam().file, "", GetParam().hints);
  const auto golden = io::SafetensorsFile::open(kGolden / (GetParam().name + ".safetensors"));
  const torch::Tensor x = golden.get("x"), t = golden.get("t");
  const torch::Tensor labels = golden.contains("labels") ? golden.get("labels") : torch::Tensor();
  const torch::NoGradGuard no_grad;

  nn::UNet single = make_unet(model, torch::kCPU, nn::Precision::kFp32);
  EXPECT_LT(relative_error(single(x, t, labels), golden.get("eps")), 1e-5);

  nn::UNet wide = make_unet(model, torch::kCPU, nn::Precision::kFp64);
  // Another processor may round the sinusoids' last bit differently, which the network amplifies.
  const torch::Tensor features =
      nn::sinusoidal_embedding(t, model.description.unet.channels, model.description.unet.sinusoid);
  const double sinusoids = (features - golden.get("time_features")).abs().max().item<double>();
  EXPECT_LT(relative_error(wide(x.to(torch::kDouble), t, labels), golden.get("eps64")),
            1e-12 + 100 * sinusoids);
}

class Schedulers : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Folders, Schedulers,
                         testing::Values("library", "classes", "shift", "google"),
                         [](const auto& info) { return info.param; });

TEST_P(Schedulers, WholePathsEndWhereDiffusersSchedulersEnd) {
  const Model model = read_model(kGolden / GetParam());
  const auto golden = io::SafetensorsFile::open(kGolden / (GetParam() + ".safetensors"));
  const torch::Tensor x_T = golden.get("x_T").to(torch::kDouble);
  const torch::Tensor z = golden.get("z").to(torch::kDouble);
  const nn::UNet unet = make_unet(model, torch::kCPU, nn::Precision::kFp64);
  const torch::Tensor labels =
      model.description.unet.class_conditional ? torch::ones({1}, torch::kLong) : torch::Tensor();
  const auto denoiser = nn::make_denoiser(unet, diffusion::Diffusion(model.description.diffusion),
                                          nn::Precision::kFp64, labels);
  int compared = 0;
  for (const auto& [key, text] : golden.metadata()) {
    if (!key.starts_with("path.")) continue;
    nlohmann::json json = nlohmann::json::parse(text);
    const double eta = json.at("eta");
    json.erase("eta");
    SchedulerSettings settings = parse_scheduler_config(json.dump(), text);
    settings.sample.steps = 10;
    settings.sample.eta = eta;
    const sample::ReverseProcess process(diffusion::Diffusion(settings.diffusion), settings.sample);
    const auto x_0 = process.run(denoiser, x_T, [&](int64_t k, int64_t) { return z[k]; });
    const torch::Tensor expected = golden.get(key);
    // In float64, but for diffusers' betas, which are float32; without clipping x reaches hundreds.
    const double scale = std::max(1.0, expected.abs().max().item<double>());
    EXPECT_LT((*x_0 - expected).abs().max().item<double>() / scale, 1e-4) << key << ": " << text;
    ++compared;
  }
  EXPECT_EQ(compared, GetParam() == "library"   ? 83
                      : GetParam() == "classes" ? 4
                      : GetParam() == "shift"   ? 3
                                                : 1);
}

TEST(DdimCheckpoint, HasRawAndAveragedWeights) {
  const Model ema = read_model(kGolden / "ddim.pth", "ema", ho_hints());
  const Model raw = read_model(kGolden / "ddim.pth", "raw", ho_hints());
  ASSERT_EQ(ema.weights.size(), raw.weights.size());
  for (size_t i = 0; i < ema.weights.size(); ++i)  // the script halves them
    EXPECT_TRUE(torch::equal(ema.weights[i].tensor * 0.5, raw.weights[i].tensor));
}

TEST(HoPort, ImagesAreSixteenPixelsWideWhereTheirAttentionIs) {
  Hints hints;
  hints.groups = 2;
  EXPECT_EQ(read_model(kGolden / "ddim.pth", "ema", hints).description.unet.image.height, 32);
}

}  // namespace
}  // namespace ddpm::exchange::parity_test
