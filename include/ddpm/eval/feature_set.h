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
  std::string title = "features";      ///< of the progress line; "": no progress line
  int64_t groups = kErrorGroups;       ///< at most, for error bars; 1: none
  std::vector<int64_t> classes = {};   ///< one per image, or empty: see make_groups
  int64_t keep_bytes = 0;              ///< memory for the vectors of single images; 0: none kept
  bool keep_logits = true;             ///< keep logits too
  torch::Device device = torch::kCPU;  ///< of the tensors that ranks exchange
};

/// Value of keep_bytes: keep all vectors.
inline constexpr int64_t kKeepAll = std::numeric_limits<int64_t>::max();

/// The features of a set of images; the same on every rank.
struct FeatureSet {
  int64_t count = 0;
  SampleGroups sampling;
  std::vector<Moments> groups;          ///< those of `sampling`
  std::vector<Moments> spatial_groups;  ///< empty if the network has no spatial features
  /// Every stride-th vector, as many as fit keep_bytes: row r belongs to images[r * stride].
  /// float32 on the CPU, [kept,D] and [kept,K]; undefined if none are kept.
  torch::Tensor features, logits;
  int64_t stride = 1;
};

/// Runs the images through the network. Each rank takes one contiguous part; the results are
/// combined at the end. Needs at least two images, and one on each rank.
FeatureSet collect(const ImageSource& source, const std::vector<int64_t>& images,
                   const FeatureExtractor& extractor, const CollectOptions& options,
                   const dist::World& world = dist::single_process());

}  // namespace ddpm::eval
