#pragma once

#include "ddpm/io/file.h"
#include "tests/cli/program.h"
#include "tests/io/temporary_folder.h"

#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

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
