#include "ddpm/diffusion/diffusion_config.h"

#include <string>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::diffusion {
namespace {

DiffusionConfig read(const std::string& keys) {
  auto document = config::Document::parse("[diffusion]\n" + keys, "test.toml");
  auto reader = document.section("diffusion");
  const DiffusionConfig config = read_diffusion_config(reader);
  document.check_all_read();
  return config;
}

std::string error_of(const std::string& keys) {
  try {
    read(keys);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(DiffusionConfig, DefaultsAreHos) {
  const DiffusionConfig config = read("");
  EXPECT_EQ(config.schedule.kind, ScheduleKind::kLinear);
  EXPECT_EQ(config.schedule.timesteps, 1000);
  EXPECT_EQ(config.schedule.beta_start, 1e-4);
  EXPECT_EQ(config.schedule.beta_end, 0.02);
  EXPECT_EQ(config.prediction, Prediction::kEpsilon);
}

TEST(DiffusionConfig, ReadsEveryKey) {
  const DiffusionConfig config = read(
      "schedule = 'sigmoid'\ntimesteps = 7\nbeta_start = 0.1\nbeta_end = 0.5\ncosine_s = 0.01\n"
      "prediction = 'v'\n");
  EXPECT_EQ(config.schedule.kind, ScheduleKind::kSigmoid);
  EXPECT_EQ(config.schedule.timesteps, 7);
  EXPECT_EQ(config.schedule.beta_start, 0.1);
  EXPECT_EQ(config.schedule.beta_end, 0.5);
  EXPECT_EQ(config.schedule.cosine_s, 0.01);
  EXPECT_EQ(config.prediction, Prediction::kV);
}

TEST(DiffusionConfig, NamesRoundTrip) {
  for (const std::string& name : config::names<ScheduleKind>()) {
    const std::string more = name == "table"  ? "\ntimesteps = 2\nbetas = [0.1, 0.2]"
                             : name == "flow" ? "\nprediction = 'v'"
                                              : "";
    EXPECT_EQ(config::to_string(read("schedule = '" + name + "'" + more).schedule.kind), name);
  }
  for (const std::string& name : config::names<Prediction>()) {
    EXPECT_EQ(config::to_string(read("prediction = '" + name + "'").prediction), name);
  }
}

TEST(DiffusionConfig, RefusesNoiseThatShrinksWithT) {
  const std::string error = error_of("beta_start = 0.03\n");
  EXPECT_NE(error.find("test.toml:2:"), std::string::npos) << error;
  EXPECT_NE(error.find("beta_start"), std::string::npos) << error;
  EXPECT_NE(error_of("beta_end = 0.00001\n"), "no error");
  // The schedules that do not read beta_start do not care.
  EXPECT_EQ(error_of("schedule = 'constant'\nbeta_end = 0.00001\n"), "no error");
}

TEST(DiffusionConfig, RefusesScheduleThatLeavesNoSignal) {
  const std::string error = error_of("timesteps = 100000\n");
  EXPECT_NE(error.find("timesteps"), std::string::npos) << error;
  EXPECT_NE(error.find("smaller betas"), std::string::npos) << error;
}

TEST(DiffusionConfig, ATableHasABetaAStep) {
  const std::string table = "schedule = 'table'\ntimesteps = 3\n";
  const DiffusionConfig config = read(table + "betas = [0.1, 0.25, 0.125]\n");
  const Schedule schedule(config.schedule);
  EXPECT_EQ(schedule.beta(2), 0.25);
  EXPECT_EQ(schedule.alpha_bar(3), 0.9 * 0.75 * 0.875);
  EXPECT_NE(error_of(table), "no error");
  EXPECT_NE(error_of(table + "betas = [0.1, 0.2]\n").find("has 2 entries"), std::string::npos);
  EXPECT_NE(error_of(table + "betas = [0.1, 1.0, 0.2]\n").find("only the last"), std::string::npos);
  EXPECT_NE(error_of("betas = [0.1]\n"), "no error") << "only a table has betas";
}

TEST(DiffusionConfig, ATableMayLeaveNothingOfTheImageWhereNothingDividesByIt) {
  const std::string table = "schedule = 'table'\ntimesteps = 2\nbetas = [0.1, 1.0]\n";
  EXPECT_NE(error_of(table).find("prediction must be v or x0"), std::string::npos);
  const Schedule schedule(read(table + "prediction = 'v'\n").schedule);
  EXPECT_EQ(schedule.alpha_bar(2), 0.0);
  EXPECT_EQ(schedule.jump_beta(2, 1), 1.0);
}

TEST(DiffusionConfig, ZeroTerminalSnrNeedsAPredictionThatKnowsTheImage) {
  for (const std::string prediction : {"eps", "mu"}) {
    const std::string error =
        error_of("zero_terminal_snr = true\nprediction = '" + prediction + "'\n");
    EXPECT_NE(error.find("test.toml:3:14: diffusion.prediction: = \"" + prediction),
              std::string::npos)
        << error;
    EXPECT_NE(error.find("use v or x0"), std::string::npos) << error;
  }
  EXPECT_NE(error_of("zero_terminal_snr = true\n"), "no error") << "eps by default";
  const std::string v = "prediction = 'v'\nzero_terminal_snr = true\n";
  EXPECT_EQ(Schedule(read(v).schedule).alpha_bar(1000), 0.0);
  EXPECT_NE(error_of(v + "timesteps = 1\n").find("2 or more"), std::string::npos);
  // Without the switch so many steps leave too little.
  EXPECT_EQ(error_of(v + "timesteps = 100000\n"), "no error");
}

TEST(DiffusionConfig, FlowNeedsAPredictionThatKnowsTheImage) {
  for (const std::string prediction : {"eps", "mu", "edm"}) {
    const std::string error = error_of("schedule = 'flow'\nprediction = '" + prediction + "'\n");
    EXPECT_NE(error.find("use flow, v or x0"), std::string::npos) << error;
  }
  const std::string flow = "schedule = 'flow'\nprediction = 'flow'\n";
  EXPECT_EQ(error_of(flow), "no error");
  EXPECT_NE(error_of(flow + "timesteps = 1\n").find("2 or more"), std::string::npos);
  EXPECT_NE(error_of(flow + "zero_terminal_snr = true\n").find("leave it out"), std::string::npos);
}

TEST(DiffusionConfig, EdmHasKeysOfItsOwn) {
  const std::string edm = "schedule = 'edm'\nprediction = 'edm'\n";
  const DiffusionConfig usual = read(edm);
  EXPECT_EQ(usual.schedule.sigma_min, 0.002);
  EXPECT_EQ(usual.schedule.sigma_max, 80);
  EXPECT_EQ(usual.data_std, 0.5);
  const DiffusionConfig own = read(edm + "sigma_min = 0.01\nsigma_max = 50\ndata_std = 0.3\n");
  EXPECT_EQ(own.schedule.sigma_min, 0.01);
  EXPECT_EQ(own.schedule.sigma_max, 50);
  EXPECT_EQ(own.parameterization().data_std, 0.3);
  EXPECT_NE(error_of(edm + "sigma_min = 90.0\n").find("sigma_max = 80"), std::string::npos);
  EXPECT_NE(error_of("data_std = 0.3\n"), "no error") << "of prediction edm alone";
  EXPECT_NE(error_of("sigma_min = 0.3\n"), "no error") << "of schedule edm alone";
  EXPECT_NE(error_of("prediction = 'edm'\nzero_terminal_snr = true\n"), "no error");
}

TEST(DiffusionConfig, RefusesValuesOutOfRange) {
  EXPECT_NE(error_of("timesteps = 0\n"), "no error");
  EXPECT_NE(error_of("beta_start = 0.0\n"), "no error");
  EXPECT_NE(error_of("beta_end = 1.0\n"), "no error");
  EXPECT_NE(error_of("schedule = 'cosinus'\n"), "no error");
  EXPECT_NE(error_of("prediction = 'score'\n"), "no error");
}

}  // namespace
}  // namespace ddpm::diffusion
