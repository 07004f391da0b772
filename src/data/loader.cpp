#include "ddpm/data/loader.h"

#include "augmentation.h"
#include "ddpm/data/epoch_sampler.h"
#include "kept_images.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <spdlog/spdlog.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

enum CacheState : uint8_t { kAbsent = 0, kFilling = 1, kPresent = 2 };

// Mirrors rows of `width` pixels of type T in place.
template <class T>
void flip_rows(uint8_t* bytes, int64_t rows, int64_t width) {
  T* pixels = reinterpret_cast<T*>(bytes);
  for (int64_t row = 0; row < rows; ++row)
    std::reverse(pixels + row * width, pixels + (row + 1) * width);
}

}  // namespace

class Loader::Impl {
 public:
  Impl(const Dataset& dataset, const LoaderOptions& options);
  ~Impl();

  void seek(int64_t k);
  int64_t position() const;
  Batch next();
  bool cached() const { return cache_.images.defined(); }

 private:
  struct Result {
    Batch batch;
    std::exception_ptr error;
  };
  struct Cache {
    torch::Tensor images;  // [N,C,H,W], each filled when it is first read
    std::vector<int64_t> labels;
    std::unique_ptr<std::atomic<uint8_t>[]> states;  // one CacheState per image
  };

  void allocate_cache();
  void work();
  Batch make_batch(int64_t k) const;
  // The vectors of batch k, float32 [B,D].
  torch::Tensor vectors_of(int64_t k) const;
  // Image `index`, cropped unless options_.random_crop; from the cache if it is there.
  Example load(int64_t index) const;
  // Crops sample p from `image` and writes its pixels to `to`.
  void write_sample(int64_t p, const torch::Tensor& image, uint8_t* to) const;

  const Dataset& dataset_;
  LoaderOptions options_;
  ImageShape shape_;
  torch::Dtype pixel_type_;
  torch::Tensor vectors_;  // of all images, or undefined
  EpochSampler order_;
  Augmentation augmentation_;
  mutable Cache cache_;
  std::atomic<bool> stopping_ = false;  // also stops batches that are being made

  mutable std::mutex mutex_;  // guards the members below
  std::condition_variable wanted_;
  std::condition_variable made_;
  int64_t generation_ = 0;  // counts seeks: results of older generations are dropped
  int64_t returned_ = 0;    // batch that next() returns next
  int64_t started_ = 0;     // batch that a worker makes next
  std::map<int64_t, Result> results_;
  std::vector<std::thread> threads_;
};

Loader::Impl::Impl(const Dataset& dataset, const LoaderOptions& options)
    : dataset_(dataset),
      options_(checked(options)),
      shape_(dataset.shape()),
      pixel_type_(dataset.pixel_type()),
      vectors_(dataset.vectors()),
      order_(dataset.size(), options.seed),
      augmentation_(options.seed, options.flip, options.random_crop) {
  allocate_cache();
  for (int64_t i = 0; i < options_.workers; ++i) threads_.emplace_back([this] { work(); });
}

void Loader::Impl::allocate_cache() {
  const auto shape = kept_shape(dataset_, options_);
  if (!shape) {
    if (options_.cache_bytes > 0)
      spdlog::info(
          "random crops of images of many shapes: each is decoded anew whenever it is used");
    return;
  }
  const int64_t count = dataset_.size();
  if (count > options_.cache_bytes / byte_count(*shape, pixel_type_)) return;
  cache_.images = torch::empty({count, shape->channels, shape->height, shape->width}, pixel_type_);
  cache_.labels.resize(count);
  cache_.states = std::make_unique<std::atomic<uint8_t>[]>(count);
}

Loader::Impl::~Impl() {
  {
    const std::lock_guard lock(mutex_);  // or a worker about to wait would miss the notification
    stopping_ = true;
  }
  wanted_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Loader::Impl::seek(int64_t k) {
  TORCH_CHECK(k >= 0, "there is no batch ", k);
  {
    const std::lock_guard lock(mutex_);
    ++generation_;
    returned_ = started_ = k;
    results_.clear();
  }
  wanted_.notify_all();
}

int64_t Loader::Impl::position() const {
  const std::lock_guard lock(mutex_);
  return returned_;
}

Batch Loader::Impl::next() {
  std::unique_lock lock(mutex_);
  made_.wait(lock, [this] { return results_.count(returned_) > 0; });
  if (results_.at(returned_).error) std::rethrow_exception(results_.at(returned_).error);
  Batch batch = std::move(results_.at(returned_).batch);
  results_.erase(returned_++);
  lock.unlock();
  wanted_.notify_one();
  return batch;
}

// A worker: takes the number of the next wanted batch, makes it and stores it.
void Loader::Impl::work() {
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

Batch Loader::Impl::make_batch(int64_t k) const {
  const int64_t count = options_.batch_size, image_bytes = byte_count(shape_, pixel_type_);
  const auto flip = pixel_type_ == torch::kByte ? flip_rows<uint8_t> : flip_rows<float>;
  Batch batch;
  batch.images = torch::empty({count, shape_.channels, shape_.height, shape_.width},
                              torch::TensorOptions(pixel_type_).pinned_memory(options_.pinned));
  batch.labels =
      torch::empty({count}, torch::TensorOptions(torch::kLong).pinned_memory(options_.pinned));
  batch.ids =
      torch::empty({count}, torch::TensorOptions(torch::kLong).pinned_memory(options_.pinned));
  for (int64_t i = 0; i < count && !stopping_; ++i) {
    const int64_t p = k * options_.global_batch + options_.first + i;
    uint8_t* image = static_cast<uint8_t*>(batch.images.data_ptr()) + i * image_bytes;
    const Example example = load(order_.index_of(p));
    write_sample(p, example.image, image);
    batch.labels.data_ptr<int64_t>()[i] = example.label;
    batch.ids.data_ptr<int64_t>()[i] = p;
    if (augmentation_.flips(p)) flip(image, shape_.channels * shape_.height, shape_.width);
  }
  if (vectors_.defined()) batch.vectors = vectors_of(k);
  return batch;
}

torch::Tensor Loader::Impl::vectors_of(int64_t k) const {
  const int64_t count = options_.batch_size;
  torch::Tensor images = torch::empty({count}, torch::kLong);
  for (int64_t i = 0; i < count; ++i)
    images.data_ptr<int64_t>()[i] = order_.index_of(k * options_.global_batch + options_.first + i);
  torch::Tensor rows =
      torch::empty({count, vectors_.size(1)},
                   torch::TensorOptions(torch::kFloat).pinned_memory(options_.pinned));
  return torch::index_select_out(rows, vectors_, 0, images);
}

Example Loader::Impl::load(int64_t index) const {
  if (cached() && cache_.states[index].load(std::memory_order_acquire) == kPresent) {
    return {cache_.images[index], cache_.labels[index]};
  }
  Example example = read_kept(dataset_, options_, index);
  const torch::Tensor& image = example.image;
  const bool right_size = options_.random_crop
                              ? image.size(1) >= shape_.height && image.size(2) >= shape_.width
                              : image.size(1) == shape_.height && image.size(2) == shape_.width;
  TORCH_CHECK(image.scalar_type() == pixel_type_ && image.size(0) == shape_.channels && right_size,
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

void Loader::Impl::write_sample(int64_t p, const torch::Tensor& image, uint8_t* to) const {
  const auto [channels, height, width] = shape_;
  const int64_t spare_rows = image.size(1) - height, spare_columns = image.size(2) - width;
  const auto* from = static_cast<const uint8_t*>(image.const_data_ptr());
  if (spare_rows == 0 && spare_columns == 0) {
    std::memcpy(to, from, byte_count(shape_, pixel_type_));
    return;
  }
  const auto [top, left] = augmentation_.crop(p, spare_rows, spare_columns);
  const auto pixel = static_cast<int64_t>(image.element_size());
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t y = 0; y < height; ++y, to += width * pixel) {
      const int64_t row = c * image.size(1) + top + y;
      std::memcpy(to, from + (row * image.size(2) + left) * pixel, width * pixel);
    }
  }
}

Loader::Loader(const Dataset& dataset, const LoaderOptions& options)
    : impl_(std::make_unique<Impl>(dataset, options)) {}
Loader::~Loader() = default;
void Loader::seek(int64_t k) { impl_->seek(k); }
int64_t Loader::position() const { return impl_->position(); }
Batch Loader::next() { return impl_->next(); }
bool Loader::cached() const { return impl_->cached(); }

}  // namespace ddpm::data
