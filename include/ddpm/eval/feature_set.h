#pragma once

#include "ddpm/dist/world.h"
#include "ddpm/eval/features.h"
#include "ddpm/eval/images.h"
#include "ddpm/eval/moments.h"

#include <cstdint>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

struct CollectOptions {
  std::string title = "features";  ///< of the progress line; "": none
  int64_t groups = 10;  ///< vector n goes into group n mod groups, for a bootstrap over groups
  int64_t keep = 0;     ///< vectors kept for what needs them one by one; 0: moments alone
  torch::Device device = torch::kCPU;  ///< where the world's tensors are
};

/// The features of a set of images; the same on every rank.
struct FeatureSet {
  int64_t count = 0;
  std::vector<Moments> groups;
  std::vector<Moments> spatial_groups;  ///< empty where the network has no spatial features
  /// Every stride-th vector, so that at most `keep` are: row r belongs to image r * stride of those
  /// asked for. float32 on the CPU, [kept,D] and [kept,K]; undefined where none are kept.
  torch::Tensor features, logits;
  int64_t stride = 1;
};

/// Runs the images through the network, each rank a share of them in one piece; the results meet at
/// the end. At least two images, and one a rank.
FeatureSet collect(const ImageSource& source, const std::vector<int64_t>& images,
                   const FeatureExtractor& extractor, const CollectOptions& options,
                   const dist::World& world = dist::single_process());

}  // namespace ddpm::eval
