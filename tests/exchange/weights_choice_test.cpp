#include "ddpm/base/error.h"
#include "src/exchange/state_dict.h"

#include <filesystem>

#include <gtest/gtest.h>

// Which of a file's sets of weights is taken, and what it is called. In the golden files
// (scripts/make_exchange_golden.py) the trained tensor is 1, the averaged one 2.

namespace ddpm::exchange {
namespace {

const std::filesystem::path kGolden =
    std::filesystem::path(DDPM_SOURCE_DIR) / "tests" / "golden" / "exchange";

struct Taken {
  double value;
  std::string weights;
  bool operator==(const Taken&) const = default;
};

Taken taken(const std::string& name, const std::string& weights) {
  const StateDict dict = state_dict(kGolden / ("weights_" + name + ".pt"), weights);
  EXPECT_EQ(dict.tensors.size(), 1u);
  return {dict.tensors.at(0).tensor.item<double>(), dict.weights};
}

std::string refusal(const std::string& name, const std::string& weights) {
  try {
    taken(name, weights);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(WeightsChoice, AFileWithBothGivesTheOnesAskedFor) {
  for (const std::string name : {"model_ema", "model_ema_state_dict"}) {
    EXPECT_EQ(taken(name, ""), (Taken{2, "ema"})) << name;
    EXPECT_EQ(taken(name, "ema"), (Taken{2, "ema"})) << name;
    EXPECT_EQ(taken(name, "raw"), (Taken{1, "raw"})) << name;
    EXPECT_NE(refusal(name, "ema-2").find("has ema or raw"), std::string::npos) << name;
  }
}

TEST(WeightsChoice, WhatAFileHasNotIsRefused) {
  EXPECT_EQ(taken("ema_state_dict", ""), (Taken{2, "ema"}));
  EXPECT_EQ(taken("ema_state_dict", "ema"), (Taken{2, "ema"}));
  EXPECT_NE(refusal("ema_state_dict", "raw").find("has ema weights alone"), std::string::npos);
}

TEST(WeightsChoice, OneSetWithoutANameIsNotCalledByOne) {
  for (const std::string name : {"model", "plain"}) {
    EXPECT_EQ(taken(name, ""), (Taken{1, ""})) << name;
    for (const std::string weights : {"raw", "ema"}) {
      EXPECT_NE(refusal(name, weights).find("leave out --weights"), std::string::npos)
          << name << ", " << weights;
    }
  }
}

}  // namespace
}  // namespace ddpm::exchange
