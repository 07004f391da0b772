#pragma once

#include "ddpm/data/dataset.h"

#include <cstdint>
#include <span>

#include <torch/types.h>

namespace ddpm::data {

struct Batch {
  /// [B,C,H,W] of the data's pixel_type, contiguous; on the CPU (pinned if CUDA is available), or on
  /// the device that holds resident data.
  torch::Tensor images;
  torch::Tensor labels;  ///< int64 [B], -1 without labels; on the images' device
  torch::Tensor ids;     ///< int64 [B], global sample index; on the images' device
  /// int64 [B], the samples whose noise the images are trained with; undefined: their own. A source
  /// leaves it undefined (train.noise_coupling).
  torch::Tensor noise_ids = {};
  /// float32 [B,D], the images' vectors (Dataset::vectors), on the images' device; undefined without
  torch::Tensor vectors = {};
};

/// The endless training data. Batch k is a function of (data set, seed, k) alone.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  /// Makes batch `k` the next one.
  virtual void seek(int64_t k) = 0;
  /// The number of the batch that next() will return.
  virtual int64_t position() const = 0;
  /// The next batch. Throws IoError if an image cannot be read; the source then stays at this batch.
  virtual Batch next() = 0;
};

/// Images `indices` (at least one) of a data set, which are also the batch's ids. Throws IoError.
Batch read_batch(const Dataset& dataset, std::span<const int64_t> indices);

}  // namespace ddpm::data
