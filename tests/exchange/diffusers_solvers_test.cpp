#include "ddpm/exchange/diffusers_config.h"
#include "ddpm/io/safetensors.h"
#include "ddpm/sample/reverse_process.h"
#include "tests/exchange/golden_chains.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

// Chains of diffusers' fast solvers, read from their scheduler_config.json
// (scripts/make_exchange_solvers_golden.py).

namespace ddpm::exchange {
namespace {

class DiffusersSolvers : public testing::Test {
 protected:
  std::vector<GoldenChain> chains() const { return chains_of(golden_); }

  io::SafetensorsFile golden_ = io::SafetensorsFile::open(
      std::string(DDPM_SOURCE_DIR) + "/tests/golden/diffusers_solvers.safetensors");
};

TEST_F(DiffusersSolvers, VisitTheirTimesteps) {
  for (const GoldenChain& chain : chains()) {
    const diffusion::Schedule schedule(chain.settings.diffusion.schedule);
    std::vector<int64_t> t;
    for (const sample::PlanStep& step : sample::timestep_plan(schedule, chain.settings.sample))
      t.push_back(step.t);
    const torch::Tensor expected =
        golden_.get("times." + chain.key.substr(chain.key.find('.') + 1)).to(torch::kLong);
    EXPECT_EQ(t, (std::vector<int64_t>{expected.data_ptr<int64_t>(),
                                       expected.data_ptr<int64_t>() + expected.numel()}))
        << chain.json.dump();
  }
}

TEST_F(DiffusersSolvers, ChainsEndWhereTheirsEnd) {
  const torch::Tensor z = golden_.get("z");
  // The network of the script.
  const auto network = [](const torch::Tensor& x, const torch::Tensor& t) {
    return 0.3 * x + 0.1 * (t - 1).to(torch::kDouble).sin().view({-1, 1, 1, 1});
  };
  int compared = 0;
  for (const GoldenChain& chain : chains()) {
    const auto names = golden_.names();
    if (std::find(names.begin(), names.end(), chain.key) == names.end()) continue;
    const sample::ReverseProcess process(diffusion::Diffusion(chain.settings.diffusion),
                                         chain.settings.sample);
    const auto end =
        process.run(network, golden_.get("x_T"), [&](int64_t k, int64_t) { return z[k]; });
    const torch::Tensor expected = golden_.get(chain.key);
    // Their betas and sigmas are float32.
    const double scale = std::max(1.0, expected.abs().max().item<double>());
    EXPECT_LT((*end - expected).abs().max().item<double>() / scale, 1e-4)
        << chain.key << ": " << chain.json.dump();
    ++compared;
  }
  EXPECT_EQ(compared, 4 * (3 * (2 * 7 + 3) + 2 + 2 * 4) + 4 * 3 + 2 * 9 + 3 * 3);
}

TEST_F(DiffusersSolvers, ComeBackAsTheyWere) {
  for (const GoldenChain& chain : chains()) {
    SchedulerSettings back =
        parse_scheduler_config(scheduler_config_text(chain.settings), "s.json");
    back.sample.steps = chain.settings.sample.steps;
    const nlohmann::json json = chain.json;
    // DPM-Solver++ of order 1 is DEIS's, which has one end.
    if (json.at("_class_name") == "DPMSolverMultistepScheduler" && json.at("solver_order") == 1)
      back.sample.last_alpha = chain.settings.sample.last_alpha;
    EXPECT_EQ(config::to_toml(back.sample, "sample"),
              config::to_toml(chain.settings.sample, "sample"))
        << chain.json.dump();
  }
}

}  // namespace
}  // namespace ddpm::exchange
