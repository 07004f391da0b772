#pragma once

#include "ddpm/data/augmentation.h"
#include "ddpm/data/batch_source.h"
#include "ddpm/data/dataset.h"
#include "ddpm/data/epoch_sampler.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include <torch/types.h>

namespace ddpm::data {

struct LoaderOptions {
  int64_t batch_size = 1;    ///< images a batch of this loader
  int64_t global_batch = 0;  ///< images a batch over all ranks; 0: batch_size
  int64_t first = 0;         ///< where this loader's images begin in the global batch
  uint64_t seed = 0;         ///< of order, flips and crops
  int64_t workers = 2;       ///< background threads
  int64_t prefetch = 4;      ///< batches kept ready; at least `workers` are
  bool flip = false;         ///< mirror each sample left to right with probability 1/2
  bool random_crop = false;  ///< cut each sample from its uncropped image at a random place
  /// Keep decoded images if the whole data set fits into this. With random_crop the uncropped
  /// images are kept, and only where all have one shape.
  int64_t cache_bytes = 0;
  /// Batches in pinned memory, for a GPU. It opens a CUDA context.
  bool pinned = false;
};

/// The options with what is to be filled in; c10::Error where they contradict each other.
LoaderOptions checked(LoaderOptions options);

/// What is kept of the data set: uncropped images with options.random_crop, else cropped ones. The
/// shape of each; none where they differ.
std::optional<ImageShape> kept_shape(const Dataset& dataset, const LoaderOptions& options);
/// Image `index` as it is kept.
Example read_kept(const Dataset& dataset, const LoaderOptions& options, int64_t index);

/// The endless training data, decoded in the background: batch k holds the global samples k *
/// global_batch + first + 0 .. batch_size - 1, in EpochSampler's order. What a batch holds is a
/// function of (data set, seed, k) alone: not of the number of workers, of timing, or of the
/// batches asked for before.
class Loader final : public BatchSource {
 public:
  /// `dataset` must outlive the loader.
  Loader(const Dataset& dataset, const LoaderOptions& options);
  ~Loader() override;
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  void seek(int64_t k) override;
  int64_t position() const override;
  /// Waits for the next batch. What a worker threw while making it (an IoError for a damaged image)
  /// is thrown here; the loader then stays at this batch.
  Batch next() override;
  /// True where decoded images are kept in memory.
  bool cached() const { return cache_.images.defined(); }

 private:
  struct Result {
    Batch batch;
    std::exception_ptr error;
  };
  struct Cache {
    torch::Tensor images;  ///< uint8 [N,C,H,W], filled as images are first asked for
    std::vector<int64_t> labels;
    std::unique_ptr<std::atomic<uint8_t>[]> states;  ///< one CacheState an image
  };

  void allocate_cache();
  void work();
  Batch make_batch(int64_t k) const;
  /// Image `index`, to be cropped where options_.random_crop says so; from the cache where it is
  /// there.
  Example load(int64_t index) const;
  /// Writes sample p, made of that image, to `to`, C*H*W bytes.
  void write_sample(int64_t p, const torch::Tensor& image, uint8_t* to) const;

  const Dataset& dataset_;
  LoaderOptions options_;
  ImageShape shape_;
  EpochSampler order_;
  Augmentation augmentation_;
  mutable Cache cache_;
  std::atomic<bool> stopping_ = false;  ///< also cuts short the batches being made

  mutable std::mutex mutex_;  ///< guards what follows
  std::condition_variable wanted_;
  std::condition_variable made_;
  int64_t generation_ = 0;  ///< counts seeks: results of older generations are dropped
  int64_t returned_ = 0;    ///< batch that next() returns next
  int64_t started_ = 0;     ///< batch that a worker makes next
  std::map<int64_t, Result> results_;
  std::vector<std::thread> threads_;
};

}  // namespace ddpm::data
