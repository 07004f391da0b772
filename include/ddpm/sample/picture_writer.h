#pragma once

#include "ddpm/sample/picture_folder.h"

#include <cstdint>
#include <future>
#include <vector>

#include <torch/types.h>

namespace ddpm::sample {

/// Writes a batch of images into a folder in a thread of its own, while the next batch is sampled.
class PictureWriter {
 public:
  /// `folder` must outlive it.
  explicit PictureWriter(const PictureFolder& folder) : folder_(folder) {}
  /// Waits for the batch before, then starts. images: the indices of `pixels`, uint8 or int32
  /// [B,C,H,W] on the CPU, as PictureFolder::write takes them. texts: those of each picture, or none
  /// at all. Throws what writing the batch before threw.
  void write(std::vector<int64_t> images, const torch::Tensor& pixels,
             std::vector<std::vector<io::PngText>> texts = {});
  /// Returns when all is written. Throws what writing threw.
  void wait();

 private:
  const PictureFolder& folder_;
  std::future<void> under_way_;
};

}  // namespace ddpm::sample
