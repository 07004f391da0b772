#pragma once

#include "ddpm/io/safetensors.h"
#include "tests/cli/fixture.h"

namespace ddpm {

/// Draws from a tiny network.
class Sample : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    train("runs/tiny");
  }

  /// Draws with extra flags; returns `samples` [N,C,H,W].
  torch::Tensor draw(std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"sample", "--out", "pictures", "--overwrite", "--save-tensors",
                                 "samples.safetensors"});
    const ProgramResult result = run(flags);
    EXPECT_EQ(result.status, 0) << result.err;
    return io::SafetensorsFile::open(folder_ / "samples.safetensors").get("samples");
  }
};

// Convolutions of another batch size may sum in another order: float rounding, amplified over the
// steps.
inline constexpr double kRounding = 1e-4;

}  // namespace ddpm
