#include "ddpm/sample/reverse_process.h"

#include "ddpm/io/safetensors.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

template <class Enum>
Enum named(const std::string& name) {
  return config::value_named<Enum>(name).value();
}

/// method.spacing.clip.(eta or sigma).prediction, where eta may hold a dot of its own.
std::pair<SampleConfig, diffusion::Prediction> parsed(const std::string& name) {
  std::vector<std::string> part;
  std::istringstream in(name);
  for (std::string word; std::getline(in, word, '.');) {
    part.push_back(word);
  }
  SampleConfig config;
  config.method = part.at(0);
  config.spacing = named<Spacing>(part.at(1));
  config.clip = named<Clip>(part.at(2));
  config.steps = 10;
  if (config.method == kDdpm) {
    config.sigma = named<Sigma>(part.at(3));
  } else {
    config.eta = std::stod(part.size() == 6 ? part[3] + "." + part[4] : part.at(3));
  }
  return {config, named<diffusion::Prediction>(part.back())};
}

TEST(ReverseProcess, MatchesDiffusersSchedulers) {
  const auto golden = io::SafetensorsFile::open(std::string(DDPM_SOURCE_DIR) +
                                                "/tests/golden/diffusion_samplers.safetensors");
  const diffusion::Schedule schedule({});
  const torch::Tensor x_T = golden.get("x_T"), z = golden.get("z");
  // The network that scripts/make_diffusion_golden.py uses, in diffusers' count of t from 0.
  const auto network = [](const torch::Tensor& x, const torch::Tensor& t) {
    return 0.3 * x + 0.1 * std::sin(static_cast<double>(t[0].item<int64_t>() - 1));
  };
  int compared = 0;
  for (const std::string& name : golden.names()) {
    if (name == "x_T" || name == "z") {
      continue;
    }
    const auto [config, prediction] = parsed(name);
    const ReverseProcess process(diffusion::Diffusion(schedule, prediction), config);
    const auto got = process.run(network, x_T, [&](int64_t k, int64_t) { return z[k]; });
    const torch::Tensor want = golden.get(name);
    // Without clipping values reach 1e3; the rest is float64 rounding over 10 steps.
    EXPECT_TRUE(torch::allclose(*got, want, 1e-9, 1e-9))
        << name << ": off by " << (*got - want).abs().max().item<double>();
    ++compared;
  }
  EXPECT_EQ(compared, 41);
}

TEST(ReverseProcess, AsksForNoiseOnlyWhereAStepUsesIt) {
  const diffusion::Schedule schedule({.timesteps = 20});
  const auto network = [](const torch::Tensor& x, const torch::Tensor&) { return x; };
  SampleConfig config;
  config.steps = 5;
  std::vector<int64_t> asked;
  const auto source = [&](int64_t k, int64_t draw) {
    EXPECT_EQ(draw, 0);
    asked.push_back(k);
    return torch::zeros({1, 1, 2, 2});
  };
  const torch::Tensor x_T = torch::ones({1, 1, 2, 2});
  ReverseProcess(diffusion::Diffusion(schedule, diffusion::Prediction::kV), config)
      .run(network, x_T, source);
  EXPECT_EQ(asked, (std::vector<int64_t>{0, 1, 2, 3}));
  asked.clear();
  config.method = kDdim;
  ReverseProcess(diffusion::Diffusion(schedule, diffusion::Prediction::kV), config)
      .run(network, x_T, source);
  EXPECT_TRUE(asked.empty());
  EXPECT_TRUE(torch::equal(x_T, torch::ones({1, 1, 2, 2})));  // the caller's noise is left alone
}

// Nichol 2021, Eq. 15, at its ends: an output of -1 is beta_tilde, of +1 beta.
TEST(ReverseProcess, ALearnedVarianceRunsFromSmallToLarge) {
  const diffusion::Schedule schedule({.timesteps = 50});
  const torch::Tensor x_T = torch::linspace(-1, 1, 16, torch::kDouble).view({1, 1, 4, 4});
  const auto noise = [&](int64_t k, int64_t) { return x_T.roll(k, 3); };
  const auto run = [&](Sigma sigma, std::optional<double> weight) {
    const auto network = [&](const torch::Tensor& x, const torch::Tensor&) {
      return weight ? torch::cat({0.5 * x, torch::full_like(x, *weight)}, 1) : 0.5 * x;
    };
    SampleConfig config;
    config.sigma = sigma;
    config.steps = 5;
    return *ReverseProcess(diffusion::Diffusion(schedule, diffusion::Prediction::kEpsilon), config)
                .run(network, x_T, noise);
  };
  EXPECT_TRUE(torch::allclose(run(Sigma::kLearned, -1.0), run(Sigma::kSmall, {}), 1e-12, 1e-12));
  EXPECT_TRUE(torch::allclose(run(Sigma::kLearned, 1.0), run(Sigma::kLarge, {}), 1e-12, 1e-12));
  EXPECT_FALSE(torch::allclose(run(Sigma::kLearned, 0.0), run(Sigma::kSmall, {}), 1e-3, 1e-3));
  EXPECT_TRUE(torch::equal(run(Sigma::kSmall, 0.3), run(Sigma::kSmall, {})))
      << "may be left unused";
  EXPECT_THROW(run(Sigma::kLearned, {}), c10::Error);
}

TEST(ReverseProcess, RefusesANetworkOfAnotherShape) {
  const diffusion::Schedule schedule({.timesteps = 20});
  const auto three_for_one = [](const torch::Tensor& x, const torch::Tensor&) {
    return torch::cat({x, x, x}, 1);
  };
  const ReverseProcess process(diffusion::Diffusion(schedule, diffusion::Prediction::kEpsilon), {});
  const auto source = [](int64_t, int64_t) { return torch::zeros({1, 1, 2, 2}); };
  EXPECT_THROW(process.run(three_for_one, torch::zeros({1, 1, 2, 2}), source), c10::Error);
}

}  // namespace
}  // namespace ddpm::sample
