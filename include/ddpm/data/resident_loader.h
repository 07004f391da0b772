#pragma once

#include "ddpm/data/augmentation.h"
#include "ddpm/data/dataset.h"
#include "ddpm/data/epoch_sampler.h"
#include "ddpm/data/loader.h"

#include <cstdint>

#include <torch/types.h>

namespace ddpm::data {

/// The training data kept decoded on the device: a batch is gathered, cropped and mirrored there,
/// by one indexing operation, and nothing of an image is copied from the host. The same batches as
/// Loader's.
class ResidentLoader final : public BatchSource {
 public:
  /// Decodes every image, in options.workers threads, and copies them to `device`. c10::Error where
  /// the uncropped images have many shapes; IoError where one cannot be read.
  ResidentLoader(const Dataset& dataset, const LoaderOptions& options, const torch::Device& device);

  void seek(int64_t k) override { position_ = k; }
  int64_t position() const override { return position_; }
  Batch next() override;

 private:
  LoaderOptions options_;
  ImageShape shape_;
  EpochSampler order_;
  Augmentation augmentation_;
  torch::Tensor images_;                    // uint8 [N,C,H',W']
  torch::Tensor labels_;                    // int64 [N]
  torch::Tensor channels_, rows_, mirror_;  // 0 .. C-1, 0 .. H-1, W-1 .. 0, shaped for indexing
  int64_t position_ = 0;
};

/// Bytes of the decoded data set as ResidentLoader keeps it; -1 where it cannot (images of many
/// shapes, to be cropped at random).
int64_t resident_bytes(const Dataset& dataset, const LoaderOptions& options);

}  // namespace ddpm::data
