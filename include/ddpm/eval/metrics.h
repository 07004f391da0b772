#pragma once

#include "ddpm/eval/feature_set.h"
#include "ddpm/eval/frechet.h"
#include "ddpm/eval/manifold.h"
#include "ddpm/eval/reference.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ddpm::eval {

struct MetricOptions {
  uint64_t seed = 0;  ///< of the kernel distance's subsets
  int64_t kernel_subsets = 100;
  int64_t kernel_size = 1000;
  int64_t score_splits = 10;
};

/// What can be said of a set of samples; what its features or the reference do not allow is empty.
/// Every error is that of a jackknife over groups of samples (jackknife_error): the spread over
/// other sets of as many samples, with the same reference.
struct Metrics {
  Measured frechet;
  std::optional<Measured> spatial;  ///< sFID
  std::optional<Measured> kernel;
  std::optional<Measured> score;
  std::optional<ManifoldScores> manifold;  ///< of as many real as generated vectors
  int64_t manifold_count = 0;              ///< of each
  std::optional<Measured> authenticity;    ///< see authenticity() in manifold.h
  std::vector<std::string> warnings;       ///< why numbers should not be trusted much
};

/// Throws UsageError where the reference was measured by another network.
Metrics measure(const FeatureSet& generated, const Reference& reference,
                const MetricOptions& options);

/// One row per generated image: itself, then its nearest reference images in feature space, the
/// nearest first. images: uint8 [n,C,H,W] with their features [n,D]. uint8 [C,H',W'], a picture.
torch::Tensor neighbour_picture(const torch::Tensor& images, const torch::Tensor& features,
                                const Reference& reference, const data::Dataset& dataset,
                                int64_t columns);

}  // namespace ddpm::eval
