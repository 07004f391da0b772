#include "ddpm/exchange/diffusers_config.h"
#include "ddpm/io/safetensors.h"
#include "ddpm/sample/reverse_process.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

// Whole paths of diffusers' schedulers where S does not divide T, of a single step, and with every
// end (scripts/make_exchange_steps_golden.py).

namespace ddpm::exchange {
namespace {

// The network of the script; its second half is a learned variance.
torch::Tensor network(const torch::Tensor& x, const torch::Tensor& t, bool learned) {
  const torch::Tensor eps = 0.3 * x + 0.1 * (t - 1).to(torch::kDouble).sin().view({-1, 1, 1, 1});
  return learned ? torch::cat({eps, (0.5 * x).clamp(-1, 1)}, 1) : eps;
}

TEST(DiffusersSteps, PathsOfAnyNumberOfStepsEndWhereTheSchedulersEnd) {
  const auto golden = io::SafetensorsFile::open(std::string(DDPM_SOURCE_DIR) +
                                                "/tests/golden/diffusers_steps.safetensors");
  const torch::Tensor z = golden.get("z");
  int compared = 0;
  for (const auto& [key, text] : golden.metadata()) {
    nlohmann::json json = nlohmann::json::parse(text);
    const double eta = json.at("eta");
    const int64_t steps = json.at("steps");
    json.erase("eta");
    json.erase("steps");
    SchedulerSettings settings = parse_scheduler_config(json.dump(), text);
    settings.sample.steps = steps;
    settings.sample.eta = eta;
    const bool learned = settings.sample.sigma == sample::Sigma::kLearned;
    const sample::ReverseProcess process(diffusion::Diffusion(settings.diffusion), settings.sample);
    const auto x_0 = process.run(
        [&](const torch::Tensor& x, const torch::Tensor& t) { return network(x, t, learned); },
        golden.get("x_T"), [&](int64_t k, int64_t) { return z[k]; });
    const torch::Tensor expected = golden.get(key);
    // Their betas are float32.
    const double scale = std::max(1.0, expected.abs().max().item<double>());
    EXPECT_LT((*x_0 - expected).abs().max().item<double>() / scale, 1e-4) << key << ": " << text;
    ++compared;
  }
  EXPECT_EQ(compared, 4 * (3 * (4 + 3) + 2) + 1 + 3 * 2);
}

}  // namespace
}  // namespace ddpm::exchange
