#pragma once

#include "ddpm/config/document.h"

#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace ddpm::config {

inline constexpr Range<int64_t> kAnyInteger{std::numeric_limits<int64_t>::lowest(),
                                            std::numeric_limits<int64_t>::max()};
inline constexpr Range<double> kAnyReal{std::numeric_limits<double>::lowest(),
                                        std::numeric_limits<double>::max()};

// What a program that knows three sections says about a config, or "" where it accepts it.
inline std::string complaint(const std::string& text,
                             const std::vector<std::string>& assignments = {}) {
  try {
    Document document = Document::parse(text, "run.toml");
    for (const std::string& assignment : assignments) document.set(assignment);
    Reader train = document.section("train");
    train.integer("steps", 100, at_least(1));
    train.integer("batch_size", 64, {1, 4096});
    train.real("lr", 1e-4, positive());
    train.real("dropout", 0.1, {0.0, 1.0, false, true});
    train.real("offset", 0.0, kAnyReal);
    train.boolean("flip", true);
    train.choice("precision", "fp32", {"fp32", "bf16", "fp64"});
    Reader data = document.section("data");
    data.text("path", "");
    data.integers("image_size", {32, 32}, {1, 1024}, 1);
    data.reals("betas", {0.9, 0.999}, {0.0, 1.0, false, true}, 2);
    data.texts("names", {});
    document.check_all_read();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

inline std::string with_file(const std::string& text,
                             const std::function<void(const std::string&)>& use) {
  const auto path = std::filesystem::path(testing::TempDir()) / "ddpm_config_test.toml";
  std::ofstream(path, std::ios::binary) << text;
  use(path.string());
  std::filesystem::remove(path);
  return path.string();
}

}  // namespace ddpm::config
