#pragma once

#include "ddpm/io/file.h"
#include "tests/cli/program.h"
#include "tests/io/temporary_folder.h"

#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace ddpm {

/// A working folder with tiny.toml: a network that trains a step in milliseconds, with everything
/// in it that a resume could forget (dropout, accumulation, two averages, warm-up, decay, flips,
/// classes).
class CliTest : public testing::Test {
 protected:
  void SetUp() override {
    io::write_file_synced(folder_ / "tiny.toml", std::string_view(R"([data]
kind = "procedural"
size = 50
image_size = 8
channels = 1
flip = true
holdout = 5
[model]
channels = 8
channel_multipliers = [1, 2]
blocks = 1
attention_resolutions = [4]
groups = 4
dropout = 0.1
[diffusion]
timesteps = 20
[train]
steps = 12
batch_size = 8
accumulate = 2
log_every = 3
checkpoint_every = 4
holdout_every = 6
keep_last = 10
[optimizer]
lr = 1e-3
warmup_steps = 5
decay = "cosine"
[ema]
decay = [0.99, 0.9]
[sample]
num = 4
batch = 3
)"));
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
