#pragma once

#include "ddpm/data/dataset.h"

#include <cstdint>
#include <memory>
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
