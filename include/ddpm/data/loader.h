#pragma once

#include "ddpm/data/batch_source.h"
#include "ddpm/data/dataset.h"

#include <cstdint>
#include <memory>

namespace ddpm::data {

struct LoaderOptions {
  int64_t batch_size = 1;    ///< images per batch of this loader
  int64_t global_batch = 0;  ///< images per batch over all ranks; 0: batch_size
  int64_t first = 0;         ///< position of this loader's first image in the global batch
  uint64_t seed = 0;         ///< of order, flips and crops
  int64_t workers = 2;       ///< background threads
  int64_t prefetch = 4;      ///< batches kept ready, at least `workers`
  bool flip = false;         ///< mirror each sample left to right with probability 1/2
  bool random_crop = false;  ///< crop each sample from its uncropped image at a random offset
  /// Keep decoded images if the whole data set fits into this. With random_crop the uncropped
  /// images are kept, and only if all have one shape.
  int64_t cache_bytes = 0;
  /// Batches in pinned memory, for a GPU. Opens a CUDA context.
  bool pinned = false;
};

/// The endless training data, decoded in the background: batch k holds the global samples k *
/// global_batch + first + 0 .. batch_size - 1, in EpochSampler's order. A batch is a function of
/// (data set, seed, k) alone: it does not depend on the number of workers, on timing, or on earlier
/// batches.
class Loader final : public BatchSource {
 public:
  /// `dataset` must outlive the loader.
  Loader(const Dataset& dataset, const LoaderOptions& options);
  ~Loader() override;
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  void seek(int64_t k) override;
  int64_t position() const override;
  /// Waits for the next batch. Rethrows the exception of a worker that could not make it (IoError
  /// for a damaged image); the loader then stays at this batch.
  Batch next() override;
  /// Whether decoded images are kept in memory.
  bool cached() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ddpm::data
