#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/eval/features.h"
#include "ddpm/io/safetensors.h"

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

/// Its features are those of noise if it is hardly better than chance: below this share of the way
/// from chance to 1 the protocol and a warning say so.
inline constexpr double kMinSkill = 0.25;
/// Likewise with fewer images than this.
inline constexpr int64_t kMinImages = 500;

/// A small convolutional network that tells the classes of a data set apart, for features where no
/// Inception is at hand or fits (digits are no photographs). Its mean-pooled last layer [B,128]
/// comes before the logits.
class Classifier final : public FeatureExtractor {
 public:
  /// The one trained on `dataset`, from `cache` if it was trained before, else trained now and
  /// left there: a function of the images, the labels and the options (same machine, same number of
  /// threads). `digest`: digest_of_images(dataset). Throws UsageError if there are fewer than
  /// two classes, IoError if an image cannot be read.
  static std::unique_ptr<Classifier> of(const data::Dataset& dataset, const std::string& digest,
                                        const ClassifierOptions& options,
                                        const std::filesystem::path& cache,
                                        const torch::Device& device);

  const ExtractorDescription& description() const override { return description_; }
  /// The share of images kept apart from its training that it gets right; NaN if there are none.
  double accuracy() const { return accuracy_; }
  /// What always naming the most frequent class of these images would get right.
  double chance() const { return chance_; }

 private:
  Classifier(data::ImageShape shape, int64_t classes, const ClassifierOptions& options);
  Features compute(const torch::Tensor& images) const override;
  Features forward(const torch::Tensor& images) const;
  bool load(const std::filesystem::path& file, const torch::Device& device);
  void save(const std::filesystem::path& file, const io::Metadata& metadata) const;
  void train(const data::Dataset& dataset);
  void measure_accuracy(const data::Dataset& dataset, const std::vector<int64_t>& held_out);
  void describe(const data::Dataset& dataset);
  void warn(int64_t images);

  ClassifierOptions options_;
  std::vector<torch::Tensor> weights_;  // of convolutions, norms and the last layer, in order
  double accuracy_ = 0.0, chance_ = 0.0;
  int64_t held_out_ = 0;  // images that these are measured on
  ExtractorDescription description_;
};

}  // namespace ddpm::eval
