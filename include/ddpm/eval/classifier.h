#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/eval/features.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace ddpm::eval {

struct ClassifierOptions {
  int64_t epochs = 3;
  int64_t max_samples = 200000;  ///< images seen in all, at most
  int64_t batch = 64;
  double learning_rate = 2e-3;
  int64_t longest_side = 64;  ///< larger images are scaled down to it
};

/// A small convolutional network that tells the classes of a data set apart, for features where no
/// Inception is at hand or fits (digits are no photographs). Its mean-pooled last layer [B,128]
/// comes before the logits.
class Classifier final : public FeatureExtractor {
 public:
  /// The one trained on `dataset`, from `cache` where it was trained before, else trained now and
  /// left there: a function of the images, the labels and the options (same machine, same number of
  /// threads). `digest`: digest_of_images(dataset). Throws UsageError where there are fewer than
  /// two classes, IoError where an image cannot be read.
  static std::unique_ptr<Classifier> of(const data::Dataset& dataset, const std::string& digest,
                                        const ClassifierOptions& options,
                                        const std::filesystem::path& cache,
                                        const torch::Device& device);

  Features extract(const torch::Tensor& images) const override;
  const ExtractorDescription& description() const override { return description_; }
  /// The share of images kept apart from its training that it gets right.
  double accuracy() const { return accuracy_; }

 private:
  Classifier(data::ImageShape shape, int64_t classes, const ClassifierOptions& options);
  Features forward(const torch::Tensor& images) const;
  void train(const data::Dataset& dataset);
  void describe(const data::Dataset& dataset);

  ClassifierOptions options_;
  std::vector<torch::Tensor> weights_;  // of convolutions, norms and the last layer, in order
  double accuracy_ = 0.0;
  ExtractorDescription description_;
};

}  // namespace ddpm::eval
