#include "ddpm/data/loader.h"

#include "ddpm/base/rng.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <torch/cuda.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

enum CacheState : uint8_t { kAbsent = 0, kFilling = 1, kPresent = 2 };

LoaderOptions checked(LoaderOptions options) {
  if (options.global_batch == 0) options.global_batch = options.batch_size;
  TORCH_CHECK(options.batch_size > 0, "batch_size must be positive, not ", options.batch_size);
  TORCH_CHECK(options.first >= 0 && options.first + options.batch_size <= options.global_batch,
              "images ", options.first, " + 0..", options.batch_size - 1,
              " lie outside a global batch of ", options.global_batch);
  TORCH_CHECK(options.workers > 0, "a loader needs at least one worker, not ", options.workers);
  options.prefetch = std::max(options.prefetch, options.workers);
  return options;
}

int64_t byte_count(ImageShape shape) { return shape.channels * shape.height * shape.width; }

// Mirrors rows of `width` bytes in place.
void flip_rows(uint8_t* pixels, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row)
    std::reverse(pixels + row * width, pixels + (row + 1) * width);
}

}  // namespace

Loader::Loader(const Dataset& dataset, const LoaderOptions& options)
    : dataset_(dataset),
      options_(checked(options)),
      shape_(dataset.shape()),
      order_(dataset.size(), options.seed),
      flip_key_(rng_key(options.seed, Purpose::kFlip)),
      pinned_(torch::cuda::is_available()) {
  const int64_t count = dataset.size();
  if (count <= options_.cache_bytes / byte_count(shape_)) {
    cache_.images =
        torch::empty({count, shape_.channels, shape_.height, shape_.width}, torch::kUInt8);
    cache_.labels.resize(count);
    cache_.states = std::make_unique<std::atomic<uint8_t>[]>(count);
  }
  for (int64_t i = 0; i < options_.workers; ++i) threads_.emplace_back([this] { work(); });
}

Loader::~Loader() {
  {
    const std::lock_guard lock(mutex_);  // or a worker about to wait would miss the call
    stopping_ = true;
  }
  wanted_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Loader::seek(int64_t k) {
  TORCH_CHECK(k >= 0, "there is no batch ", k);
  {
    const std::lock_guard lock(mutex_);
    ++generation_;
    returned_ = started_ = k;
    results_.clear();
  }
  wanted_.notify_all();
}

int64_t Loader::position() const {
  const std::lock_guard lock(mutex_);
  return returned_;
}

Batch Loader::next() {
  std::unique_lock lock(mutex_);
  made_.wait(lock, [this] { return results_.count(returned_) > 0; });
  if (results_.at(returned_).error) std::rethrow_exception(results_.at(returned_).error);
  Batch batch = std::move(results_.at(returned_).batch);
  results_.erase(returned_++);
  lock.unlock();
  wanted_.notify_one();
  return batch;
}

// A worker: takes the number of the next batch that is wanted, makes it, lays it down.
void Loader::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wanted_.wait(lock, [this] { return stopping_ || started_ < returned_ + options_.prefetch; });
    if (stopping_) return;
    const int64_t k = started_++, generation = generation_;
    lock.unlock();
    Result result;
    try {
      result.batch = make_batch(k);
    } catch (...) {
      result.error = std::current_exception();
    }
    lock.lock();
    if (generation == generation_) {
      results_[k] = std::move(result);
      made_.notify_all();
    }
  }
}

Batch Loader::make_batch(int64_t k) const {
  const int64_t count = options_.batch_size;
  Batch batch;
  batch.images = torch::empty({count, shape_.channels, shape_.height, shape_.width},
                              torch::TensorOptions(torch::kUInt8).pinned_memory(pinned_));
  batch.labels = torch::empty({count}, torch::TensorOptions(torch::kLong).pinned_memory(pinned_));
  batch.ids = torch::empty({count}, torch::TensorOptions(torch::kLong).pinned_memory(pinned_));
  for (int64_t i = 0; i < count && !stopping_; ++i) {
    const int64_t p = k * options_.global_batch + options_.first + i;
    uint8_t* image = batch.images.data_ptr<uint8_t>() + i * byte_count(shape_);
    batch.labels.data_ptr<int64_t>()[i] = load(order_.index_of(p), image);
    batch.ids.data_ptr<int64_t>()[i] = p;
    if (flips(p)) flip_rows(image, shape_.channels * shape_.height, shape_.width);
  }
  return batch;
}

int64_t Loader::load(int64_t index, uint8_t* to) const {
  const int64_t bytes = byte_count(shape_);
  uint8_t* kept = cached() ? cache_.images.data_ptr<uint8_t>() + index * bytes : nullptr;
  if (kept && cache_.states[index].load(std::memory_order_acquire) == kPresent) {
    std::memcpy(to, kept, bytes);
    return cache_.labels[index];
  }
  const Example example = dataset_.get(index);
  TORCH_CHECK(example.image.scalar_type() == torch::kUInt8 && example.image.numel() == bytes,
              "image ", index, " of the data set is ", example.image.scalar_type(), " ",
              example.image.sizes());
  const torch::Tensor image = example.image.contiguous();
  std::memcpy(to, image.data_ptr<uint8_t>(), bytes);
  uint8_t absent = kAbsent;
  if (kept &&
      cache_.states[index].compare_exchange_strong(absent, kFilling, std::memory_order_relaxed)) {
    std::memcpy(kept, to, bytes);
    cache_.labels[index] = example.label;
    cache_.states[index].store(kPresent, std::memory_order_release);
  }
  return example.label;
}

bool Loader::flips(int64_t p) const {
  return options_.flip && (philox(flip_key_, static_cast<uint64_t>(p), 0, 0).w[0] & 1u) != 0;
}

}  // namespace ddpm::data
