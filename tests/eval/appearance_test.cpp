#include "ddpm/eval/appearance.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::eval {
namespace {

// Images whose pixels are uniform around `centre` [C], uint8 [n,C,8,8].
torch::Tensor images(const std::vector<double>& centre, double width, int64_t n = 200) {
  torch::manual_seed(1);
  const auto channels = static_cast<int64_t>(centre.size());
  const torch::Tensor noise = torch::rand({n, channels, 8, 8}, torch::kDouble) - 0.5;
  return (torch::tensor(centre, torch::kDouble).view({1, -1, 1, 1}) + width * noise)
      .round()
      .to(torch::kByte);
}

Appearance of(const torch::Tensor& all) {
  AppearanceSum sum;
  sum.add(all.narrow(0, 0, 70));
  sum.add(all.narrow(0, 70, all.size(0) - 70));
  return sum.result();
}

TEST(Appearance, IsTheMeanAndDeviationOfAllPixels) {
  const torch::Tensor all = images({100, 150}, 60);
  const Appearance found = of(all);
  EXPECT_EQ(found.images, 200);
  for (int64_t c = 0; c < 2; ++c) {
    const torch::Tensor channel = all.select(1, c).to(torch::kDouble);
    EXPECT_NEAR(found.mean[c], channel.mean().item<double>(), 1e-9);
    EXPECT_NEAR(found.deviation[c], channel.std(/*unbiased=*/false).item<double>(), 1e-9);
    const torch::Tensor means = channel.flatten(1).mean(1);
    EXPECT_NEAR(found.mean_error[c], means.std().item<double>() / std::sqrt(200.0), 1e-9);
  }
}

TEST(Appearance, TintsAndContrastsAreCalledOut) {
  const Appearance data = of(images({100, 150, 120}, 120));
  EXPECT_EQ(describe_tint(of(images({102, 149, 121}, 125)), data), "");
  const std::string tinted = describe_tint(of(images({100, 165, 120}, 120)), data);
  EXPECT_NE(tinted.find("tinted: mean level 100, 165, 120 beside the data's 100, 150, 120"),
            std::string::npos)
      << tinted;
  EXPECT_EQ(describe_tint(of(images({100, 150, 120}, 80)), data).find("low contrast"), 0u);
  EXPECT_EQ(describe_tint(of(images({100, 150, 120}, 170)), data).find("high contrast"), 0u);
}

// Few images say little about the mean.
TEST(Appearance, AFewImagesAreNotCalledTinted) {
  Appearance few = of(images({100, 150, 120}, 120));
  const Appearance data = few;
  few.mean[1] += 15;
  few.mean_error[1] = 5;
  EXPECT_EQ(describe_tint(few, data), "");
}

}  // namespace
}  // namespace ddpm::eval
