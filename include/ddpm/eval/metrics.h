#pragma once

#include "ddpm/eval/features.h"
#include "ddpm/eval/frechet.h"
#include "ddpm/eval/manifold.h"
#include "ddpm/eval/reference.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace ddpm::eval {

struct MetricOptions {
  uint64_t seed = 0;  ///< of the kernel distance's subsets
  int64_t kernel_subsets = 100;
  int64_t kernel_size = 1000;
  int64_t score_splits = 10;
};

/// What a metric is computed from.
struct MetricInputs {
  const FeatureSet& generated;
  const Reference& reference;
  const MetricOptions& options;
  /// Of equally many real and generated vectors; empty if the vectors are unknown or too few.
  std::optional<ManifoldScores> manifold = {};

  /// Whether every generated and real vector is known, not only their mean and covariance.
  bool has_vectors() const { return generated.features.defined() && reference.features.defined(); }
};

/// A metric: a row of the only list of them (src/eval/metrics.cpp).
struct MetricEntry {
  const char* key;    ///< in JSON; its standard error is KEY_error
  const char* title;  ///< in the table for people; nullptr: the feature network's distance_name
  /// Empty if the features or the reference do not support the metric. Its error is that of a
  /// jackknife over groups of samples (jackknife_error): the spread over other sets of as many
  /// samples, against the same reference.
  std::optional<Measured> (*measure)(const MetricInputs& inputs);
};

/// The list, in the order of output.
std::span<const MetricEntry> metric_entries();

/// A metric's result.
struct Metric {
  std::string key, title;  ///< of its MetricEntry
  std::optional<Measured> value;
};

/// Metrics of a set of samples.
struct Metrics {
  std::vector<Metric> list;
  int64_t manifold_count = 0;         ///< vectors of each side that MetricInputs::manifold is of
  std::vector<std::string> warnings;  ///< reasons to distrust the numbers

  /// The metric of this key. c10::Error if there is none.
  const std::optional<Measured>& operator[](std::string_view key) const;
};

/// Computes every metric of `entries`. Throws UsageError if another network measured the reference.
Metrics measure(const FeatureSet& generated, const Reference& reference,
                const MetricOptions& options,
                std::span<const MetricEntry> entries = metric_entries());

/// KEY and KEY_error of each metric (KEY: null if it is unavailable), manifold_num, warnings.
nlohmann::ordered_json to_json(const Metrics& metrics);

/// A table for people, one line per available metric, after the network's warnings.
std::string to_text(const Metrics& metrics, const ExtractorDescription& network);

/// One row per generated image: the image, then its nearest reference images in feature space, the
/// nearest first. images: uint8 [n,C,H,W] with their features [n,D]. Returns uint8 [C,H',W'].
torch::Tensor neighbour_picture(const torch::Tensor& images, const torch::Tensor& features,
                                const Reference& reference, const data::Dataset& dataset,
                                int64_t columns);

}  // namespace ddpm::eval
