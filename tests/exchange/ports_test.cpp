#include "ddpm/base/error.h"
#include "ddpm/exchange/model.h"
#include "ddpm/io/safetensors.h"
#include "src/exchange/state_dict.h"
#include "tests/exchange/fixture.h"

#include <set>

#include <gtest/gtest.h>
#include <torch/types.h>

// Networks that are Ho's under other names, and names under prefixes
// (scripts/make_exchange_ports_golden.py).

namespace ddpm::exchange {
namespace {

namespace fs = std::filesystem;

const fs::path kPorts = fs::path(DDPM_SOURCE_DIR) / "tests" / "golden" / "ports";

Hints small_hints() {
  Hints hints;
  hints.groups = 2;
  hints.image_size = 8;
  return hints;
}

double relative_error(const torch::Tensor& actual, const torch::Tensor& expected) {
  return ((actual - expected).abs().max() / expected.abs().max()).item<double>();
}

class Port : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Networks, Port, testing::Values("w86", "tqch"),
                         [](const auto& info) { return info.param; });

TEST_P(Port, TheNetworksOutputIsTheOtherPrograms) {
  const Model model = read_model(kPorts / (GetParam() + ".pt"), "", small_hints());
  EXPECT_EQ(model.weights_name, "ema");
  EXPECT_EQ(model.sample.sigma, sample::Sigma::kLarge);
  EXPECT_EQ(model.description.diffusion.schedule.timesteps, 1000);
  const auto golden = io::SafetensorsFile::open(kPorts / (GetParam() + ".safetensors"));
  const torch::Tensor x = golden.get("x"), t = golden.get("t");
  const torch::NoGradGuard no_grad;
  nn::UNet single = make_unet(model, torch::kCPU, nn::Precision::kFp32);
  EXPECT_LT(relative_error(single(x, t, torch::Tensor()), golden.get("eps")), 1e-5);
  nn::UNet wide = make_unet(model, torch::kCPU, nn::Precision::kFp64);
  // The time features are float32 on both sides, and may differ in their last bit (6e-8 of angles
  // up to 863), which the network amplifies.
  EXPECT_LT(relative_error(wide(x.to(torch::kDouble), t, torch::Tensor()), golden.get("eps64")),
            1e-5);
}

TEST_P(Port, RawWeightsAreThere) {
  const Model ema = read_model(kPorts / (GetParam() + ".pt"), "ema", small_hints());
  const Model raw = read_model(kPorts / (GetParam() + ".pt"), "raw", small_hints());
  EXPECT_EQ(raw.weights_name, "raw");
  ASSERT_EQ(ema.weights.size(), raw.weights.size());
  for (size_t i = 0; i < ema.weights.size(); ++i)  // the script halves them
    EXPECT_TRUE(torch::equal(ema.weights[i].tensor * 0.5, raw.weights[i].tensor));
}

TEST(Ports, TheTimestepsOfW86AreInItsFile) {
  Hints hints = small_hints();
  hints.timesteps = 500;
  EXPECT_NE(message_of([&] { read_model(kPorts / "w86.pt", "", hints); }).find("made for 1000"),
            std::string::npos);
}

TEST(Ports, LucidrainsNetworkIsRefusedByName) {
  for (const char* weights : {"", "ema", "raw"}) {
    const std::string message = message_of([&] { read_model(kPorts / "lucidrains.pt", weights); });
    EXPECT_NE(message.find("denoising-diffusion-pytorch"), std::string::npos) << message;
  }
}

// --- prefixes
std::set<std::string> names_of(const std::string& file, const std::string& weights = "") {
  std::set<std::string> names;
  for (const io::NamedTensor& t : state_dict(kPorts / file, weights).tensors) names.insert(t.name);
  return names;
}

TEST(Prefixes, WhateverWrapsANetworkIsTakenOff) {
  std::set<std::string> plain;
  const fs::path library = kPorts.parent_path() / "exchange" / "library";
  for (const io::NamedTensor& t : read_model(library).weights) plain.insert(t.name);
  for (const char* name : {"compiled", "parallel_compiled", "compiled_parts", "lightning"})
    EXPECT_EQ(names_of("wrapped_" + std::string(name) + ".pt"), plain) << name;
  for (const char* weights : {"", "raw", "ema"})
    EXPECT_EQ(names_of("wrapped_ema_pytorch.pt", weights), plain) << weights;
}

TEST(Prefixes, TheAverageOfEmaPytorchIsNotItsOnlineModel) {
  EXPECT_EQ(state_dict(kPorts / "wrapped_ema_pytorch.pt", "").weights, "ema");
  EXPECT_NE(state_dict(kPorts / "wrapped_ema_pytorch.pt", "").origin.find("ema_model.model."),
            std::string::npos);
}

TEST(Prefixes, AnUnknownNetworkIsToldByItsPrefix) {
  const std::string message = message_of([] { read_model(kPorts / "wrapped_unknown.pt"); });
  EXPECT_NE(message.find("3 names, all under \"wrapper.inner.\""), std::string::npos) << message;
}

}  // namespace
}  // namespace ddpm::exchange
