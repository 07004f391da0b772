#include "ddpm/eval/paired.h"

#include "ddpm/io/file.h"

#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

namespace ddpm::eval {
namespace {

// The images of scripts/make_paired_golden.py.
std::pair<torch::Tensor, torch::Tensor> pairs(int64_t channels, int64_t height, int64_t width) {
  const torch::Tensor n = torch::arange(3).view({3, 1, 1, 1});
  const torch::Tensor c = torch::arange(channels).view({1, channels, 1, 1});
  const torch::Tensor y = torch::arange(height).view({1, 1, height, 1});
  const torch::Tensor x = torch::arange(width).view({1, 1, 1, width});
  const torch::Tensor first = (37 * n + 91 * c + 11 * y + 5 * x + x * y).remainder(256);
  const torch::Tensor second =
      ((first * (3 - n)).floor_divide(3) + 29 * n + (17 * x + 7 * y + 3 * c).remainder(23))
          .remainder(256);
  return {first.to(torch::kByte), second.to(torch::kByte)};
}

TEST(Paired, IsWhatScikitImageMeasures) {
  const auto cases =
      nlohmann::json::parse(io::read_text(DDPM_SOURCE_DIR "/tests/golden/eval_paired.json"));
  ASSERT_EQ(cases.size(), 3u);
  for (const auto& found : cases) {
    const auto shape = found["shape"].get<std::vector<int64_t>>();
    const auto [first, second] = pairs(shape[0], shape[1], shape[2]);
    const torch::Tensor decibels = psnr(first, second), similarity = ssim(first, second);
    for (int64_t n = 0; n < 3; ++n) {
      // float64 in another order.
      EXPECT_NEAR(decibels[n].item<double>(), found["psnr"][n].get<double>(), 1e-9);
      EXPECT_NEAR(similarity[n].item<double>(), found["ssim"][n].get<double>(), 1e-9);
    }
  }
}

TEST(Paired, OfEqualImagesIsPerfect) {
  const torch::Tensor images = pairs(3, 16, 16).first;
  EXPECT_TRUE(psnr(images, images).isinf().all().item<bool>());
  EXPECT_NEAR(ssim(images, images).min().item<double>(), 1.0, 1e-12);
}

TEST(Paired, OfConstantImagesIsItsClosedForm) {
  const torch::Tensor a = torch::full({1, 1, 12, 12}, 100, torch::kByte);
  const torch::Tensor b = torch::full({1, 1, 12, 12}, 110, torch::kByte);
  EXPECT_NEAR(psnr(a, b).item<double>(), 20 * std::log10(25.5), 1e-12);
  // Without variance only the luminance term is left (Wang 2004, Eq. 6).
  const double c1 = 2.55 * 2.55;
  EXPECT_NEAR(ssim(a, b).item<double>(), (2 * 100 * 110 + c1) / (100 * 100 + 110 * 110 + c1), 1e-9);
}

TEST(PairedSum, IsTheMeanOverImagesWhateverTheBatches) {
  const auto [first, second] = pairs(3, 16, 24);
  const auto of = [&](const std::vector<std::vector<int64_t>>& batches) {
    PairedSum sum(6, 3);
    for (const std::vector<int64_t>& images : batches) {
      const torch::Tensor rows = torch::tensor(images).remainder(3);
      sum.add(images, second.index_select(0, rows), first.index_select(0, rows));
    }
    return sum.result(dist::single_process(), torch::kCPU);
  };
  const PairedScores scores = of({{0, 1, 2, 3}, {4, 5}});
  EXPECT_NEAR(scores.psnr.value, psnr(first, second).mean().item<double>(), 1e-12);
  EXPECT_NEAR(scores.ssim->value, ssim(first, second).mean().item<double>(), 1e-12);
  EXPECT_EQ(scores.psnr.value, of({{5, 4, 3}, {2, 1, 0}}).psnr.value);
  // Two samples of each of three originals are three independent numbers, not six: their standard
  // error is the deviation over sqrt(3).
  EXPECT_NEAR(scores.psnr.error, psnr(first, second).std().item<double>() / std::sqrt(3.0), 1e-9);
}

TEST(PairedSum, OfImagesSmallerThanTheWindowHasNoSsim) {
  const auto [first, second] = pairs(1, 8, 8);
  PairedSum sum(3, 3);
  sum.add({0, 1, 2}, first, second);
  EXPECT_FALSE(sum.result(dist::single_process(), torch::kCPU).ssim);
  EXPECT_THROW(ssim(first, second), c10::Error);
}

}  // namespace
}  // namespace ddpm::eval
