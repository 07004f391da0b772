#pragma once

#include <cstdint>

#include <torch/types.h>

namespace ddpm::data {

struct Batch {
  torch::Tensor images;  ///< uint8 [B,C,H,W], contiguous; on the CPU (in pinned memory where CUDA
                         ///< is available), or on the device where the data is resident
  torch::Tensor labels;  ///< int64 [B], -1 where there are none; where the images are
  torch::Tensor ids;     ///< int64 [B], global sample index; where the images are
};

/// The endless training data. What batch k holds is a function of (data set, seed, k) alone.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  /// The next batch will be batch `k`.
  virtual void seek(int64_t k) = 0;
  /// The number of the batch that next() will return.
  virtual int64_t position() const = 0;
  /// The next batch. An IoError where an image cannot be read; the source then stays at this batch.
  virtual Batch next() = 0;
};

}  // namespace ddpm::data
