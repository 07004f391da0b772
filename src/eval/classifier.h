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
  int64_t max_samples = 200000;  ///< at most this many images in total
  int64_t batch = 64;
  double learning_rate = 2e-3;
  int64_t longest_side = 64;  ///< larger images are scaled down to it
};

/// The features are meaningless if the classifier is hardly better than chance. Below this fraction
/// of the way from chance to 1, the protocol and a warning report it.
inline constexpr double kMinSkill = 0.25;
/// The same holds for fewer training images than this.
inline constexpr int64_t kMinImages = 500;

/// A small convolutional classifier of a data set. Its features serve if there is no Inception
/// network or if it does not fit the images (digits are no photographs). They are the mean-pooled
/// last layer before the logits, [B,128].
class Classifier final : public FeatureExtractor {
 public:
  /// The classifier trained on `dataset`: read from `cache`, else trained and saved there. It
  /// depends only on images, labels and options, on one machine with one number of threads.
  /// `digest`: digest_of_images(dataset). Throws UsageError if there are fewer than two classes,
  /// IoError if an image cannot be read.
  static std::unique_ptr<Classifier> of(const data::Dataset& dataset, const std::string& digest,
                                        const ClassifierOptions& options,
                                        const std::filesystem::path& cache,
                                        const torch::Device& device);

  const ExtractorDescription& description() const override { return description_; }
  /// The accuracy on held-out images; NaN if there are none.
  double accuracy() const { return accuracy_; }
  /// The fraction of the most frequent class among these images.
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
  int64_t held_out_ = 0;  // number of these images
  ExtractorDescription description_;
};

}  // namespace ddpm::eval
