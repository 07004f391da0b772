#pragma once

#include "ddpm/io/file.h"
#include "ddpm/io/image.h"
#include "tests/cli/program.h"
#include "tests/io/temporary_folder.h"

#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

namespace ddpm {

/// A working folder with tests/tiny.toml.
class CliTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::copy_file(DDPM_SOURCE_DIR "/tests/tiny.toml", folder_ / "tiny.toml");
  }

  ProgramResult run(const std::vector<std::string>& arguments) {
    return run_program(folder_.path(), arguments);
  }

  /// Trains tiny.toml into `out` with extra arguments and expects success.
  void train(const std::string& out, const std::vector<std::string>& extra = {}) {
    std::vector<std::string> arguments{"train", "--config", "tiny.toml", "--out", out};
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    const ProgramResult result = run(arguments);
    ASSERT_EQ(result.status, 0) << result.err;
  }

  /// Runs and expects one line on stderr that begins "ddpm: error: " and holds `text`, and nothing
  /// on stdout.
  void expect_error(const std::vector<std::string>& arguments, int status,
                    const std::string& text) {
    const ProgramResult result = run(arguments);
    EXPECT_EQ(result.status, status) << result.err;
    const size_t line = result.err.rfind("ddpm: error: ");
    ASSERT_NE(line, std::string::npos) << result.err;
    EXPECT_EQ(result.err.find('\n', line), result.err.size() - 1) << "not one line: " << result.err;
    EXPECT_NE(result.err.find(text, line), std::string::npos)
        << "wanted: " << text << "\ngot: " << result.err;
    EXPECT_EQ(result.out, "");
  }

  /// uint8 [C,H,W].
  torch::Tensor pixels(const std::filesystem::path& file) {
    return io::to_tensor(io::decode_image(io::read_file(folder_ / file), file.string()));
  }

  /// What a command prints with --json; expects success.
  nlohmann::json json_of(std::vector<std::string> arguments) {
    arguments.emplace_back("--json");
    const ProgramResult result = run(arguments);
    EXPECT_EQ(result.status, 0) << result.err;
    return nlohmann::json::parse(result.out, nullptr, /*allow_exceptions=*/false);
  }

  std::vector<torch::Tensor> images_of(const nlohmann::json& json) {
    std::vector<torch::Tensor> images;
    for (const std::string file : json.at("files")) images.push_back(pixels(file));
    return images;
  }

  /// Images of the newest run by 5 steps of DDIM.
  std::vector<torch::Tensor> sampled(const std::vector<std::string>& more) {
    std::vector<std::string> arguments{"sample", "--steps", "5", "--ddim"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return images_of(json_of(arguments));
  }

  std::filesystem::path checkpoint(const std::string& run, int64_t step) const {
    const std::string digits = std::to_string(step);
    return folder_ / run / "checkpoints" / ("step-" + std::string(9 - digits.size(), '0') + digits);
  }

  /// Expects the same bytes in every tensor file of two checkpoints.
  void expect_same_tensors(const std::filesystem::path& a, const std::filesystem::path& b) {
    for (const char* name :
         {"model.safetensors", "ema.safetensors", "ema-2.safetensors", "optimizer.safetensors"}) {
      EXPECT_EQ(io::read_file(a / name), io::read_file(b / name))
          << name << " of " << a << " and " << b;
    }
  }

  TemporaryFolder folder_;
};

}  // namespace ddpm
