#include "ddpm/nn/weight_copies.h"

#include "ddpm/nn/precision.h"
#include "golden.h"

#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::nn {
namespace {

TEST(WeightCopies, AreUsedWhileTheGuardLives) {
  const torch::Tensor a = torch::randn({3, 4}), b = torch::randn({5});
  const WeightCopies copies({a});
  EXPECT_FALSE(WeightCopiesGuard::active());
  {
    const WeightCopiesGuard guard(copies);
    EXPECT_TRUE(WeightCopiesGuard::active());
    EXPECT_TRUE(used(a).equal(a.to(torch::kBFloat16)));
    EXPECT_EQ(used(b).unsafeGetTensorImpl(), b.unsafeGetTensorImpl());  // not copied
  }
  EXPECT_EQ(used(a).unsafeGetTensorImpl(), a.unsafeGetTensorImpl());
}

// What autocast does weight by weight: the same bits of the output and of every gradient.
TEST(WeightCopies, GiveWhatAutocastGives) {
  for (const std::string& name : kGoldenNets) {
    Golden golden = load_golden(name);
    golden.net->to(torch::kFloat);
    const torch::Tensor x = golden.get("x").to(torch::kFloat);
    const auto run = [&](bool with_copies) {
      golden.net->zero_grad();
      const AutocastGuard autocast(torch::kCPU, Precision::kBf16);
      std::optional<WeightCopies> copies;
      std::optional<WeightCopiesGuard> guard;
      if (with_copies) guard.emplace(copies.emplace(golden.net->weight_copies()));
      const torch::Tensor y = golden.net(x, golden.get("t"), golden.labels());
      y.square().sum().backward();
      std::vector<torch::Tensor> results{y.detach().clone()};
      for (const torch::Tensor& p : golden.net->parameters()) results.push_back(p.grad().clone());
      return results;
    };
    const auto plain = run(false), copied = run(true);
    for (size_t i = 0; i < plain.size(); ++i)
      EXPECT_TRUE(plain[i].equal(copied[i])) << name << ", result " << i;
  }
}

}  // namespace
}  // namespace ddpm::nn
