#pragma once

#include "ddpm/dist/world.h"
#include "ddpm/eval/features.h"
#include "ddpm/eval/images.h"
#include "ddpm/eval/jackknife.h"
#include "ddpm/eval/moments.h"

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

struct CollectOptions {
  std::string title = "features";      ///< of the progress line; "": none
  int64_t groups = kErrorGroups;       ///< most groups for error bars; 1: none
  std::vector<int64_t> classes = {};   ///< of each image, if there are any: see make_groups
  int64_t keep_bytes = 0;              ///< of vectors kept for what needs them one by one; 0: none
  bool keep_logits = true;             ///< along with them
  torch::Device device = torch::kCPU;  ///< where the world's tensors are
};

/// keep_bytes: all of them.
inline constexpr int64_t kKeepAll = std::numeric_limits<int64_t>::max();

/// The features of a set of images; the same on every rank.
struct FeatureSet {
  int64_t count = 0;
  SampleGroups sampling;
  std::vector<Moments> groups;          ///< those of `sampling`
  std::vector<Moments> spatial_groups;  ///< empty if the network has no spatial features
  /// Every stride-th vector, so that keep_bytes hold them: row r belongs to image r * stride of
  /// those asked for. float32 on the CPU, [kept,D] and [kept,K]; undefined if none are kept.
  torch::Tensor features, logits;
  int64_t stride = 1;
};

/// Runs the images through the network, each rank a share of them in one piece; the results meet at
/// the end. At least two images, and one on each rank.
FeatureSet collect(const ImageSource& source, const std::vector<int64_t>& images,
                   const FeatureExtractor& extractor, const CollectOptions& options,
                   const dist::World& world = dist::single_process());

}  // namespace ddpm::eval
