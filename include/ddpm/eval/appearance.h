#pragma once

#include "ddpm/eval/images.h"

#include <cstdint>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

/// How a set of images looks in each channel, in levels of 0..255.
struct Appearance {
  int64_t images = 0;
  std::vector<double> mean;        ///< of all pixels
  std::vector<double> mean_error;  ///< standard error of the mean, from the images' own means
  std::vector<double> deviation;   ///< of all pixels: the contrast
};

/// Sums up the appearance of images, uint8 [B,C,H,W].
class AppearanceSum {
 public:
  void add(const torch::Tensor& images);
  /// Of the images so far; two or more.
  Appearance result() const;

 private:
  torch::Tensor image_means_;  // float64 [images, C]
  torch::Tensor squares_;      // float64 [C]: sums over images of the mean square of a pixel
};

/// What is wrong with the samples' colours, for people; "" if nothing is. A channel is tinted if its
/// mean differs from the data's by more than a seventh of the data's deviation and four standard
/// errors. The contrast is low or high if it differs by more than a fifth.
std::string describe_tint(const Appearance& samples, const Appearance& data);

}  // namespace ddpm::eval
