#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/dist/world.h"
#include "ddpm/eval/features.h"
#include "ddpm/eval/images.h"
#include "ddpm/eval/metrics.h"
#include "ddpm/eval/reference.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>
#include <torch/types.h>

namespace ddpm::eval {

/// Reference images, their statistics, or both.
struct ReferenceData {
  std::shared_ptr<const data::Dataset> images;  ///< nullptr: statistics alone
  std::string split;                            ///< "train", "holdout", "all", "unknown"
  std::filesystem::path statistics = {};        ///< a .npz that holds some (npz_content), or ""
};

/// The reference at `path`: images (folder, zip, .npz, ...) or a .npz of statistics. Throws
/// IoError.
ReferenceData reference_at(const std::filesystem::path& path);

struct EvaluatorOptions {
  /// "train": a classifier trained on the reference; else the file of a feature network.
  std::string features = "train";
  std::filesystem::path cache = {};  ///< of classifiers and statistics; "": default_cache()
  torch::Device device = torch::kCPU;
};

/// Measures sets of samples against one reference: a feature network and the reference's
/// statistics. Every rank of the world has one and collects features; rank 0 alone has metrics.
class Evaluator {
 public:
  /// Opens or trains the feature network and measures the reference, or reads both from the cache.
  /// `world` must outlive it. Throws IoError, and UsageError if data and options do not fit.
  Evaluator(ReferenceData data, const EvaluatorOptions& options,
            const dist::World& world = dist::single_process());

  const ExtractorDescription& network() const { return features_->description(); }
  const ReferenceData& data() const { return data_; }
  /// The distance's name, short enough for a title.
  std::string distance_title() const;

  /// Throws UsageError if the reference images have another shape.
  void expect_shape(const data::ImageShape& shape) const;
  /// The features of the samples; those of each image are kept unless `frechet_only`. Collective.
  FeatureSet collect(const Samples& samples, const std::string& title,
                     bool frechet_only = false) const;
  /// The metrics of that set, on rank 0, and the feature network's warnings among theirs.
  Metrics measure(const FeatureSet& set, const MetricOptions& options) const;
  /// These images (uint8 [C,H,W] each), each beside its nearest reference images; see
  /// neighbour_picture. Needs reference images.
  torch::Tensor neighbours(const std::vector<torch::Tensor>& images, int64_t columns) const;

  /// All that decides a number besides the samples: feature network, its hash, resize, split, ...
  nlohmann::ordered_json protocol() const;

 private:
  void measure_images(const EvaluatorOptions& options, const std::filesystem::path& cache);

  ReferenceData data_;
  const dist::World& world_;
  torch::Device device_;
  bool trained_;  // the feature network, on the reference
  std::unique_ptr<FeatureExtractor> features_;
  Reference reference_;
};

/// "protocol: KEY VALUE; KEY VALUE; ...", without the distance's name.
std::string protocol_line(const nlohmann::ordered_json& protocol);

}  // namespace ddpm::eval
