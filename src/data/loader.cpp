#include "ddpm/data/loader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <spdlog/spdlog.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

enum CacheState : uint8_t { kAbsent = 0, kFilling = 1, kPresent = 2 };

int64_t byte_count(ImageShape shape) { return shape.channels * shape.height * shape.width; }

// Mirrors rows of `width` bytes in place.
void flip_rows(uint8_t* pixels, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row)
    std::reverse(pixels + row * width, pixels + (row + 1) * width);
}

}  // namespace

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

std::optional<ImageShape> kept_shape(const Dataset& dataset, const LoaderOptions& options) {
  return options.random_crop ? dataset.uncropped_shape() : dataset.shape();
}

Example read_kept(const Dataset& dataset, const LoaderOptions& options, int64_t index) {
  return options.random_crop ? dataset.get_uncropped(index) : dataset.get(index);
}

Loader::Loader(const Dataset& dataset, const LoaderOptions& options)
    : dataset_(dataset),
      options_(checked(options)),
      shape_(dataset.shape()),
      order_(dataset.size(), options.seed),
      augmentation_(options.seed, options.flip, options.random_crop) {
  allocate_cache();
  for (int64_t i = 0; i < options_.workers; ++i) threads_.emplace_back([this] { work(); });
}

void Loader::allocate_cache() {
  const auto shape = kept_shape(dataset_, options_);
  if (!shape) {
    if (options_.cache_bytes > 0)
      spdlog::info(
          "random crops of images of many shapes: each is decoded anew whenever it is used");
    return;
  }
  const int64_t count = dataset_.size();
  if (count > options_.cache_bytes / byte_count(*shape)) return;
  cache_.images =
      torch::empty({count, shape->channels, shape->height, shape->width}, torch::kUInt8);
  cache_.labels.resize(count);
  cache_.states = std::make_unique<std::atomic<uint8_t>[]>(count);
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
                              torch::TensorOptions(torch::kUInt8).pinned_memory(options_.pinned));
  batch.labels =
      torch::empty({count}, torch::TensorOptions(torch::kLong).pinned_memory(options_.pinned));
  batch.ids =
      torch::empty({count}, torch::TensorOptions(torch::kLong).pinned_memory(options_.pinned));
  for (int64_t i = 0; i < count && !stopping_; ++i) {
    const int64_t p = k * options_.global_batch + options_.first + i;
    uint8_t* image = batch.images.data_ptr<uint8_t>() + i * byte_count(shape_);
    const Example example = load(order_.index_of(p));
    write_sample(p, example.image, image);
    batch.labels.data_ptr<int64_t>()[i] = example.label;
    batch.ids.data_ptr<int64_t>()[i] = p;
    if (augmentation_.flips(p)) flip_rows(image, shape_.channels * shape_.height, shape_.width);
  }
  return batch;
}

Example Loader::load(int64_t index) const {
  if (cached() && cache_.states[index].load(std::memory_order_acquire) == kPresent) {
    return {cache_.images[index], cache_.labels[index]};
  }
  Example example = read_kept(dataset_, options_, index);
  const torch::Tensor& image = example.image;
  const bool right_size = options_.random_crop
                              ? image.size(1) >= shape_.height && image.size(2) >= shape_.width
                              : image.size(1) == shape_.height && image.size(2) == shape_.width;
  TORCH_CHECK(
      image.scalar_type() == torch::kUInt8 && image.size(0) == shape_.channels && right_size,
      "image ", index, " of the data set is ", image.scalar_type(), " ", image.sizes());
  example.image = image.contiguous();
  uint8_t absent = kAbsent;
  if (cached() &&
      cache_.states[index].compare_exchange_strong(absent, kFilling, std::memory_order_relaxed)) {
    cache_.images[index].copy_(example.image);
    cache_.labels[index] = example.label;
    cache_.states[index].store(kPresent, std::memory_order_release);
  }
  return example;
}

void Loader::write_sample(int64_t p, const torch::Tensor& image, uint8_t* to) const {
  const auto [channels, height, width] = shape_;
  const int64_t spare_rows = image.size(1) - height, spare_columns = image.size(2) - width;
  const uint8_t* from = image.data_ptr<uint8_t>();
  if (spare_rows == 0 && spare_columns == 0) {
    std::memcpy(to, from, byte_count(shape_));
    return;
  }
  const auto [top, left] = augmentation_.crop(p, spare_rows, spare_columns);
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t y = 0; y < height; ++y, to += width) {
      const int64_t row = c * image.size(1) + top + y;
      std::memcpy(to, from + row * image.size(2) + left, width);
    }
  }
}

}  // namespace ddpm::data
