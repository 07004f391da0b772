#pragma once

#include "ddpm/dist/world.h"
#include "ddpm/eval/jackknife.h"

#include <cstdint>
#include <optional>
#include <vector>

#include <torch/types.h>

// How near samples are to the images that their conditions were made from.

namespace ddpm::eval {

/// Peak signal-to-noise ratio of each image in dB, 10 log10(255^2 / mean squared error over pixels
/// and channels): uint8 [N,C,H,W] each to float64 [N]. Infinite if they are equal.
torch::Tensor psnr(const torch::Tensor& a, const torch::Tensor& b);

/// The side of the window of ssim.
inline constexpr int64_t kSsimWindow = 11;

/// Structural similarity of each image (Wang 2004, Eqs. 13 to 17): the mean over channels and over
/// the windows that lie within the image. Gaussian window of 11 x 11 with standard deviation 1.5,
/// K1 = 0.01, K2 = 0.03, L = 255. uint8 [N,C,H,W] each, of 11 x 11 or more, to float64 [N].
torch::Tensor ssim(const torch::Tensor& a, const torch::Tensor& b);

/// Means over images with their standard errors.
struct PairedScores {
  Measured psnr;
  std::optional<Measured> ssim;  ///< none if the images are smaller than the window
};

/// Collects the scores of samples 0..num-1, where sample i belongs to original i mod `originals`.
class PairedSum {
 public:
  PairedSum(int64_t num, int64_t originals);

  /// images: the numbers of these samples; samples and their originals are uint8 [N,C,H,W].
  void add(const std::vector<int64_t>& images, const torch::Tensor& samples,
           const torch::Tensor& originals);
  /// Over the samples of all ranks. The errors count samples of one original as dependent. Collective.
  PairedScores result(const dist::World& world, const torch::Device& device) const;

 private:
  int64_t originals_;
  bool has_ssim_ = true;
  torch::Tensor table_;  // float64 [2, num]: PSNR and SSIM of this rank's samples, else 0
};

}  // namespace ddpm::eval
