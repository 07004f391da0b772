#include "ddpm/report/metrics_table.h"

#include <gtest/gtest.h>

namespace ddpm::report {
namespace {

using Json = nlohmann::ordered_json;
using Warnings = std::vector<std::string>;

TEST(MetricsTable, DamagedLinesArePassedOverWithAWarning) {
  Warnings warnings;
  const auto lines = steps_of_lines(
      "{\"step\":1,\"loss\":2.0}\n{\"step\":2,\"lo\nnull\n{\"loss\":1}\n{\"step\":\"3\"}\n\n"
      "{\"step\":4,\"loss\":1.0}\n",
      "run/metrics.jsonl", warnings);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[1]["step"], 4);
  EXPECT_EQ(warnings, (Warnings{"run/metrics.jsonl: 4 damaged lines passed over, the first is "
                                "line 2"}));
}

TEST(MetricsTable, OfLinesThatOverlapTheLaterOneCounts) {
  Warnings warnings;
  const auto lines = steps_of_lines(
      "{\"step\":1,\"loss\":1}\n{\"step\":2,\"loss\":2}\n{\"step\":3,\"loss\":3}\n"
      "{\"step\":2,\"loss\":5}\n{\"step\":4,\"loss\":4}\n",
      "m", warnings);
  EXPECT_EQ(metrics_table(lines)["step"], Json({1.0, 2.0, 4.0}));
  EXPECT_EQ(metrics_table(lines)["loss"], Json({1.0, 5.0, 4.0}));
  EXPECT_TRUE(warnings.empty());
}

TEST(MetricsTable, WhatIsMissingOrNoNumberIsNull) {
  Warnings warnings;
  const auto lines = steps_of_lines(
      "{\"step\":1,\"loss\":null}\n{\"step\":2,\"loss\":\"x\",\"holdout_loss\":0.5}\n", "m",
      warnings);
  const Json table = metrics_table(lines);
  EXPECT_EQ(table["loss"], Json::array({nullptr, nullptr}));
  EXPECT_EQ(table["holdout_loss"], Json::array({nullptr, 0.5}));
}

// Groups of 3: {1,2,3}, {4,5,6}, {7}.
TEST(MetricsTable, ManyLinesArePutTogether) {
  std::vector<Json> lines;
  for (int i = 1; i <= 7; ++i)
    lines.push_back({{"step", i}, {"loss", i}, {"skipped", 1}, {"memory_mib", i % 3}});
  const Json table = metrics_table(lines, 3);
  EXPECT_EQ(table["step"], Json({3.0, 6.0, 7.0}));
  EXPECT_EQ(table["loss"], Json({2.0, 5.0, 7.0}));
  EXPECT_EQ(table["skipped"], Json({3.0, 3.0, 1.0}));
  EXPECT_EQ(table["memory_mib"], Json({2.0, 2.0, 1.0}));
  EXPECT_EQ(metrics_table(lines, 7)["step"].size(), 7u);
  EXPECT_EQ(metrics_table({}), Json::object());
}

}  // namespace
}  // namespace ddpm::report
