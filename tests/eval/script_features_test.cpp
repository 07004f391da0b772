#include "src/eval/script_features.h"

#include "ddpm/base/error.h"
#include "tests/io/temporary_folder.h"

#include <string>

#include <gtest/gtest.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/types.h>

namespace ddpm::eval {
namespace {

/// What a network with this forward(self, x) is refused with, of two images.
std::string refusal(const std::string& result) {
  const TemporaryFolder folder;
  torch::jit::Module module("M");
  module.define("def forward(self, x):\n  return " + result + "\n");
  module.save((folder / "m.pt").string());
  try {
    open_script_features(folder / "m.pt", torch::kCPU)
        ->extract(torch::zeros({2, 3, 8, 8}, torch::kByte));
  } catch (const IoError& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(ScriptFeatures, FeaturesOfNoUseAreRefused) {
  EXPECT_EQ(refusal("x.float().flatten(1)"), "(no error)");
  EXPECT_NE(refusal("x.float().flatten(1) / 0.0").find("NaN or infinite"), std::string::npos);
  EXPECT_NE(refusal("x.float().flatten(1)[:, :0]").find("for 2 images it returns features [2, 0]"),
            std::string::npos);
  EXPECT_NE(refusal("x.float().flatten(1)[:1]").find("for 2 images it returns features [1, 192]"),
            std::string::npos);
}

}  // namespace
}  // namespace ddpm::eval
