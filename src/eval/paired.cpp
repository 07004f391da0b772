#include "ddpm/eval/paired.h"

#include <algorithm>

#include <torch/types.h>

namespace ddpm::eval {
namespace {

constexpr double kPeak = 255.0;
constexpr double kWindowDeviation = 1.5;

// The rows of the separable window: float64 [11], sum 1.
torch::Tensor window_row() {
  const torch::Tensor at =
      torch::arange(kSsimWindow, torch::kDouble) - static_cast<double>(kSsimWindow / 2);
  const torch::Tensor row = (-at.square() / (2 * kWindowDeviation * kWindowDeviation)).exp();
  return row / row.sum();
}

// Weighted means over the windows within the image: [M,1,H,W] to [M,1,H-10,W-10].
torch::Tensor window_means(const torch::Tensor& x) {
  const torch::Tensor row = window_row();
  const torch::Tensor along = torch::conv2d(x, row.view({1, 1, 1, kSsimWindow}));
  return torch::conv2d(along, row.view({1, 1, kSsimWindow, 1}));
}

torch::Tensor planes(const torch::Tensor& pixels) {
  return pixels.to(torch::kDouble).flatten(0, 1).unsqueeze(1);
}

}  // namespace

torch::Tensor psnr(const torch::Tensor& a, const torch::Tensor& b) {
  const torch::Tensor error =
      (a.to(torch::kDouble) - b.to(torch::kDouble)).square().flatten(1).mean(1);
  return 10 * (kPeak * kPeak / error).log10();
}

torch::Tensor ssim(const torch::Tensor& a, const torch::Tensor& b) {
  TORCH_CHECK(a.sizes() == b.sizes() && a.size(2) >= kSsimWindow && a.size(3) >= kSsimWindow,
              "images of ", a.sizes(), " and ", b.sizes(), " have no SSIM");
  constexpr double kC1 = (0.01 * kPeak) * (0.01 * kPeak), kC2 = (0.03 * kPeak) * (0.03 * kPeak);
  const torch::Tensor x = planes(a), y = planes(b);
  // Eqs. 14 to 16: means, variances and covariance of each window.
  const torch::Tensor mean_x = window_means(x), mean_y = window_means(y);
  const torch::Tensor variances =
      window_means(x.square()) - mean_x.square() + window_means(y.square()) - mean_y.square();
  const torch::Tensor covariance = window_means(x * y) - mean_x * mean_y;
  const torch::Tensor map =  // Eq. 13
      (2 * mean_x * mean_y + kC1) * (2 * covariance + kC2) /
      ((mean_x.square() + mean_y.square() + kC1) * (variances + kC2));
  return map.flatten(1).mean(1).view({a.size(0), a.size(1)}).mean(1);
}

PairedSum::PairedSum(int64_t num, int64_t originals)
    : originals_(originals), table_(torch::zeros({2, num}, torch::kDouble)) {}

void PairedSum::add(const std::vector<int64_t>& images, const torch::Tensor& samples,
                    const torch::Tensor& originals) {
  const torch::Tensor columns = torch::tensor(images, torch::kLong);
  has_ssim_ = std::min(samples.size(2), samples.size(3)) >= kSsimWindow;
  table_[0].index_copy_(0, columns, psnr(samples, originals));
  if (has_ssim_) table_[1].index_copy_(0, columns, ssim(samples, originals));
}

PairedScores PairedSum::result(const dist::World& world, const torch::Device& device) const {
  torch::Tensor all = table_;
  if (world.size() > 1) {
    all = table_.to(device, torch::kDouble, /*non_blocking=*/false, /*copy=*/true);
    world.all_reduce_sum_({all});
    all = all.cpu();
  }
  const int64_t num = all.size(1);
  const int64_t groups = std::min({kErrorGroups, originals_, num});
  const torch::Tensor ids = torch::arange(num).remainder(originals_).remainder(groups);
  PairedScores scores{grouped_mean(all[0], ids, groups), std::nullopt};
  if (has_ssim_) scores.ssim = grouped_mean(all[1], ids, groups);
  return scores;
}

}  // namespace ddpm::eval
