#pragma once

#include "ddpm/data/batch_source.h"
#include "ddpm/data/dataset.h"
#include "ddpm/data/loader.h"

#include <cstdint>
#include <memory>

#include <torch/types.h>

namespace ddpm::data {

/// The training data kept decoded on the device. One indexing operation gathers, crops and mirrors a
/// batch there; no image is copied from the host. Same batches as Loader.
class ResidentLoader final : public BatchSource {
 public:
  /// Decodes every image with options.workers threads and copies them to `device`. Throws c10::Error
  /// if the uncropped images have several shapes, and IoError if one cannot be read.
  ResidentLoader(const Dataset& dataset, const LoaderOptions& options, const torch::Device& device);
  ~ResidentLoader() override;

  void seek(int64_t k) override;
  int64_t position() const override;
  Batch next() override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// Bytes of the decoded data set as ResidentLoader keeps it; -1 if it cannot (random crops from
/// images of several shapes).
int64_t resident_bytes(const Dataset& dataset, const LoaderOptions& options);

}  // namespace ddpm::data
