#include "ddpm/base/error.h"
#include "ddpm/nn/script_module.h"

#include <cmath>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/types.h>

namespace ddpm::nn {
namespace {

class ScriptGuides : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path saved(const std::string& body) {
    torch::jit::Module module("Guide");
    module.define("def forward(self, x, t):\n  " + body + "\n");
    module.save((folder_ / "guide.pt").string());
    return folder_ / "guide.pt";
  }
  ScriptGuide opened(const std::string& body) {
    return ScriptGuide(saved(body), torch::kCPU, {1, 2, 2});
  }
  std::string error_of(const std::string& body) {
    try {
      opened(body);
    } catch (const IoError& error) {
      return error.what();
    }
    return "no error";
  }

  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() /
      ("script_guide_" + std::to_string(::testing::UnitTest::GetInstance()->random_seed()) + "_" +
       ::testing::UnitTest::GetInstance()->current_test_info()->name());
  torch::Tensor x_ = torch::linspace(-1, 1, 8, torch::kDouble).view({2, 1, 2, 2});
  torch::Tensor t_ = torch::tensor({3, 7});
};

// logits (s, -s) with s = t sum(x): log p(0) = -log(1 + exp(-2 s)), whose gradient is 2 t
// sigmoid(-2 s) everywhere.
TEST_F(ScriptGuides, OfLogitsAreTheGradientOfTheClasssLogProbability) {
  ScriptGuide guide =
      opened("s = x.flatten(1).sum(1) * (t + 1)\n  return torch.stack([s, -s, -1000 + 0 * s], 1)");
  EXPECT_EQ(guide.classes(), 3);
  guide.set_batch_(torch::tensor({0, 1}));
  const torch::NoGradGuard no_grad;  // as samplers call it
  const torch::Tensor score = guide.score()(x_, t_);
  const double s[] = {3 * x_[0].sum().item<double>(), 7 * x_[1].sum().item<double>()};
  EXPECT_TRUE(torch::allclose(
      score[0], torch::full({1, 2, 2}, 2 * 3 / (1 + std::exp(2 * s[0])), torch::kFloat), 1e-5,
      1e-6));
  EXPECT_TRUE(torch::allclose(
      score[1], torch::full({1, 2, 2}, -2 * 7 / (1 + std::exp(-2 * s[1])), torch::kFloat), 1e-5,
      1e-6));
}

TEST_F(ScriptGuides, MayBeADensityOrAScore) {
  for (const char* body : {"return -0.5 * x.square().flatten(1).sum(1)", "return -x"}) {
    const ScriptGuide guide = opened(body);
    EXPECT_EQ(guide.classes(), 0);
    EXPECT_TRUE(torch::allclose(guide.score()(x_, t_), -x_.to(torch::kFloat))) << body;
  }
}

TEST_F(ScriptGuides, ThatCannotGuideAreRefusedInOneLine) {
  EXPECT_NE(error_of("return x.flatten(1).sum()").find("guide.pt: returns [] for two images"),
            std::string::npos);
  EXPECT_NE(error_of("return x.flatten(1).detach()").find("no gradient"), std::string::npos);
  EXPECT_NE(error_of("return x.view(2, 7)").find("cannot be run on float32 [2,1,2,2]"),
            std::string::npos);
  EXPECT_NE(error_of("return (x, t)").find("returns no tensor"), std::string::npos);
  std::ofstream(folder_ / "text.pt") << "not a network";
  try {
    ScriptGuide(folder_ / "text.pt", torch::kCPU, {1, 2, 2});
    FAIL();
  } catch (const IoError& error) {
    EXPECT_NE(std::string(error.what()).find("is not a TorchScript network"), std::string::npos);
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace ddpm::nn
