#include "ddpm/base/error.h"
#include "ddpm/exchange/diffusers_config.h"
#include "ddpm/io/safetensors.h"
#include "ddpm/sample/reverse_process.h"
#include "tests/exchange/golden_chains.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

// Chains of diffusers' FlowMatchEulerDiscreteScheduler and EDMEulerScheduler, read from their
// scheduler_config.json (scripts/make_exchange_paths_golden.py).

namespace ddpm::exchange {
namespace {

class DiffusersPaths : public testing::Test {
 protected:
  std::vector<GoldenChain> chains() const { return chains_of(golden_); }

  io::SafetensorsFile golden_ = io::SafetensorsFile::open(
      std::string(DDPM_SOURCE_DIR) + "/tests/golden/diffusers_paths.safetensors");
};

TEST_F(DiffusersPaths, ChainsEndWhereTheirsEnd) {
  int compared = 0;
  for (const GoldenChain& chain : chains()) {
    const diffusion::Diffusion diffusion(chain.settings.diffusion);
    const diffusion::Denoiser network = [&](const torch::Tensor& x, const torch::Tensor& t) {
      const diffusion::NetworkInput input = diffusion.network_input(x, t);
      return torch::cos(input.x + 0.3 * input.time.sin().view({-1, 1, 1, 1}));  // of the script
    };
    for (const char* method : {"euler", sample::kDdim}) {
      sample::SampleConfig config = chain.settings.sample;
      config.method = method;
      const torch::Tensor end =
          *sample::ReverseProcess(diffusion, config)
               .run(network, golden_.get("x_T"), [&](int64_t, int64_t) -> torch::Tensor {
                 throw std::logic_error("Euler's method needs no noise");
               });
      // Their sigmas are float32.
      EXPECT_LT((end - golden_.get(chain.key)).abs().max().item<double>(), 2e-5)
          << method << ": " << chain.json.dump();
    }
    ++compared;
  }
  EXPECT_EQ(compared, 5 * 3 + 3 * 2);
}

TEST_F(DiffusersPaths, ComeBackAsTheyWere) {
  for (const GoldenChain& chain : chains()) {
    const std::string text = scheduler_config_text(chain.settings);
    const SchedulerSettings back = parse_scheduler_config(text, "s.json");
    EXPECT_EQ(back.diffusion, chain.settings.diffusion) << text;
    EXPECT_EQ(back.sample.method, "euler");
    // Every key that is written is theirs, with their value.
    const nlohmann::json written = nlohmann::json::parse(text);
    for (const auto& [key, value] : written.items()) {
      if (key != "_diffusers_version") EXPECT_EQ(chain.json.at(key), value) << key;
    }
  }
}

TEST_F(DiffusersPaths, RefuseWhatCannotBeExpressed) {
  const auto error_of = [](const std::string& text) -> std::string {
    try {
      parse_scheduler_config(text, "s.json");
    } catch (const IoError& error) {
      return error.what();
    }
    return "no error";
  };
  const std::string flow = R"({"_class_name": "FlowMatchEulerDiscreteScheduler")";
  const std::string edm = R"({"_class_name": "EDMEulerScheduler")";
  EXPECT_EQ(error_of(flow + "}"), "no error");
  EXPECT_NE(error_of(flow + R"(, "shift": 3.0})").find("shift = 3.0 cannot be expressed"),
            std::string::npos);
  EXPECT_NE(error_of(flow + R"(, "use_dynamic_shifting": true})"), "no error");
  EXPECT_NE(error_of(flow + R"(, "num_train_timesteps": 1})"), "no error");
  EXPECT_EQ(error_of(edm + "}"), "no error");
  EXPECT_NE(error_of(edm + R"(, "rho": 3.0})").find("rho = 3.0 cannot"), std::string::npos);
  EXPECT_NE(error_of(edm + R"(, "sigma_min": 90.0})"), "no error");
  EXPECT_NE(error_of(edm + R"(, "sigma_data": 0.0})"), "no error");
  EXPECT_NE(error_of(edm + R"(, "prediction_type": "v_prediction"})"), "no error");
}

// One of the pairs alone: nothing of diffusers' samples it.
TEST_F(DiffusersPaths, OtherPairsAreNotWritten) {
  SchedulerSettings settings;
  settings.diffusion.prediction = diffusion::Prediction::kFlow;
  settings.diffusion.schedule.kind = diffusion::ScheduleKind::kCosine;
  try {
    scheduler_config_text(settings);
    FAIL() << "expected an error";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("prediction = flow with schedule = cosine"),
              std::string::npos)
        << error.what();
  }
  settings.diffusion.prediction = diffusion::Prediction::kV;
  settings.diffusion.schedule.kind = diffusion::ScheduleKind::kEdm;
  EXPECT_NE(scheduler_config_text(settings).find("trained_betas"), std::string::npos);
}

}  // namespace
}  // namespace ddpm::exchange
