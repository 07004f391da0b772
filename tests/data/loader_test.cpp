#include "ddpm/data/loader.h"

#include "ddpm/base/error.h"
#include "ddpm/data/epoch_sampler.h"
#include "tests/io/fixtures.h"

#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

// Image i holds i, i+1, i+2, ... modulo 256 and has label 3 i. Takes an uneven time to read; image
// `broken` cannot be read.
class Numbered final : public Dataset {
 public:
  explicit Numbered(int64_t size, int64_t broken = -1) : size_(size), broken_(broken) {}
  int64_t size() const override { return size_; }
  ImageShape shape() const override { return {3, 4, 5}; }
  int64_t class_count() const override { return 3 * size_; }
  std::vector<std::string> class_names() const override { return {}; }
  std::string description() const override { return "numbered"; }
  Example get(int64_t index) const override {
    ++reads;
    if (index == broken_) throw IoError("image " + std::to_string(index), "is broken");
    std::this_thread::sleep_for(std::chrono::microseconds(index * 7919 % 300));
    return {torch::arange(index, index + 60).remainder(256).to(torch::kUInt8).view({3, 4, 5}),
            3 * index};
  }
  mutable std::atomic<int> reads = 0;

 private:
  int64_t size_;
  int64_t broken_;
};

std::vector<Batch> take(Loader& loader, int count) {
  std::vector<Batch> batches;
  for (int i = 0; i < count; ++i) batches.push_back(loader.next());
  return batches;
}

bool equal(const Batch& a, const Batch& b) {
  return torch::equal(a.images, b.images) && torch::equal(a.labels, b.labels) &&
         torch::equal(a.ids, b.ids);
}

int64_t index_in(const Batch& batch, int64_t place) {
  return batch.labels[place].item<int64_t>() / 3;
}

TEST(Loader, GivesTheSamplersImagesInOrder) {
  const Numbered set(37);
  const EpochSampler order(37, 4);
  Loader loader(set, {.batch_size = 8, .seed = 4});
  for (int64_t k = 0; k < 12; ++k) {
    const Batch batch = loader.next();
    ASSERT_EQ(batch.images.sizes(), (torch::IntArrayRef{8, 3, 4, 5}));
    for (int64_t i = 0; i < 8; ++i) {
      EXPECT_EQ(batch.ids[i].item<int64_t>(), 8 * k + i);
      EXPECT_EQ(index_in(batch, i), order.index_of(8 * k + i));
      EXPECT_TRUE(torch::equal(batch.images[i], set.get(index_in(batch, i)).image));
    }
  }
}

TEST(Loader, EveryEpochVisitsEveryImageOnce) {
  const Numbered set(24);
  Loader loader(set, {.batch_size = 6, .seed = 1});
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::set<int64_t> seen;
    for (const Batch& batch : take(loader, 4)) {
      for (int64_t i = 0; i < 6; ++i) seen.insert(index_in(batch, i));
    }
    EXPECT_EQ(seen.size(), 24u);
  }
}

TEST(Loader, BatchesDoNotDependOnWorkersPrefetchOrCache) {
  const Numbered set(29);
  Loader reference(set, {.batch_size = 5, .seed = 9, .workers = 1, .prefetch = 1, .flip = true});
  const std::vector<Batch> expected = take(reference, 15);
  for (const int64_t workers : {1, 2, 4, 7}) {
    for (const int64_t cache : {int64_t{0}, int64_t{1} << 20}) {
      Loader loader(set, {.batch_size = 5,
                          .seed = 9,
                          .workers = workers,
                          .prefetch = 3,
                          .flip = true,
                          .cache_bytes = cache});
      EXPECT_EQ(loader.cached(), cache > 0);
      for (int k = 0; k < 15; ++k)
        EXPECT_TRUE(equal(loader.next(), expected[k])) << workers << " workers, batch " << k;
    }
  }
}

TEST(Loader, SeekGoesToAnyBatch) {
  const Numbered set(29);
  const LoaderOptions options{.batch_size = 5, .seed = 9, .workers = 3, .flip = true};
  Loader straight(set, options);
  const std::vector<Batch> expected = take(straight, 40);
  Loader loader(set, options);
  for (const int64_t k : {17, 3, 0, 38, 38, 11}) {
    loader.seek(k);
    EXPECT_EQ(loader.position(), k);
    EXPECT_TRUE(equal(loader.next(), expected[k]));
    EXPECT_TRUE(equal(loader.next(), expected[k + 1]));
    EXPECT_EQ(loader.position(), k + 2);
  }
}

TEST(Loader, SharesOfTwoRanksMakeTheWholeBatch) {
  const Numbered set(29);
  Loader whole(set, {.batch_size = 10, .seed = 2, .flip = true});
  Loader left(set, {.batch_size = 4, .global_batch = 10, .first = 0, .seed = 2, .flip = true});
  Loader right(set, {.batch_size = 6, .global_batch = 10, .first = 4, .seed = 2, .flip = true});
  for (int k = 0; k < 7; ++k) {
    const Batch expected = whole.next(), a = left.next(), b = right.next();
    EXPECT_TRUE(torch::equal(torch::cat({a.images, b.images}), expected.images));
    EXPECT_TRUE(torch::equal(torch::cat({a.labels, b.labels}), expected.labels));
    EXPECT_TRUE(torch::equal(torch::cat({a.ids, b.ids}), expected.ids));
  }
}

TEST(Loader, FlipMirrorsHalfTheSamplesAnewEachEpoch) {
  const Numbered set(50);
  Loader loader(set, {.batch_size = 50, .seed = 3, .flip = true});
  int flipped = 0, changed = 0;
  std::vector<bool> before(50);
  const int epochs = 20;
  for (int epoch = 0; epoch < epochs; ++epoch) {
    const Batch batch = loader.next();
    for (int64_t i = 0; i < 50; ++i) {
      const int64_t index = index_in(batch, i);
      const torch::Tensor plain = set.get(index).image;
      const bool mirrored = torch::equal(batch.images[i], plain.flip({2}));
      ASSERT_TRUE(mirrored || torch::equal(batch.images[i], plain));
      flipped += mirrored;
      changed += epoch > 0 && mirrored != before[index];
      before[index] = mirrored;
    }
  }
  // Binomial(1000, 1/2) and (950, 1/2): five standard deviations are 79 and 77.
  EXPECT_NEAR(flipped, 500, 79);
  EXPECT_NEAR(changed, 475, 77);
}

// Images of 4x5 cut from 7x9; pixel (y, x) of the uncropped image i holds i + 9 y + x. With
// `uneven` the images differ in height.
class Uncropped final : public Dataset {
 public:
  explicit Uncropped(bool uneven = false) : uneven_(uneven) {}
  int64_t size() const override { return 11; }
  ImageShape shape() const override { return {1, 4, 5}; }
  int64_t class_count() const override { return 11; }
  std::vector<std::string> class_names() const override { return {}; }
  std::string description() const override { return "uncropped"; }
  Example get(int64_t index) const override {
    return {whole(index).slice(1, 1, 5).slice(2, 2, 7).contiguous(), index};
  }
  Example get_uncropped(int64_t index) const override {
    ++reads;
    return {whole(index), index};
  }
  std::optional<ImageShape> uncropped_shape() const override {
    if (uneven_) return std::nullopt;
    return ImageShape{1, 7, 9};
  }
  torch::Tensor whole(int64_t index) const {
    const int64_t height = uneven_ ? 7 + index % 2 : 7;
    return torch::arange(index, index + 9 * height).to(torch::kUInt8).view({1, height, 9});
  }
  mutable std::atomic<int> reads = 0;

 private:
  bool uneven_;
};

TEST(Loader, RandomCropsCoverEveryPlaceEvenly) {
  const Uncropped set;
  Loader loader(set, {.batch_size = 100, .seed = 3, .random_crop = true});
  std::vector<int> places(4 * 5, 0);
  for (const Batch& batch : take(loader, 40)) {
    for (int64_t i = 0; i < 100; ++i) {
      const int64_t index = batch.labels[i].item<int64_t>();
      const int64_t first = batch.images[i][0][0][0].item<int64_t>() - index;
      const int64_t top = first / 9, left = first % 9;
      ASSERT_LE(top, 3);
      ASSERT_LE(left, 4);
      const torch::Tensor cut = set.whole(index).slice(1, top, top + 4).slice(2, left, left + 5);
      ASSERT_TRUE(torch::equal(batch.images[i], cut));
      ++places[top * 5 + left];
    }
  }
  // Binomial(4000, 1/20): 200, standard deviation 13.8; five of them.
  for (const int count : places) EXPECT_NEAR(count, 200, 69);
}

TEST(Loader, RandomCropsDoNotDependOnWorkersCacheOrSeeking) {
  for (const bool uneven : {false, true}) {
    const Uncropped set(uneven);
    const LoaderOptions plain{
        .batch_size = 4, .seed = 5, .workers = 1, .flip = true, .random_crop = true};
    Loader reference(set, plain);
    const std::vector<Batch> expected = take(reference, 20);
    LoaderOptions options = plain;
    options.workers = 3;
    options.cache_bytes = 11 * 7 * 9;
    Loader loader(set, options);
    EXPECT_EQ(loader.cached(), !uneven);
    for (int k = 0; k < 20; ++k) EXPECT_TRUE(equal(loader.next(), expected[k]));
    loader.seek(7);
    EXPECT_TRUE(equal(loader.next(), expected[7]));
    Loader resumed(set, plain);
    resumed.seek(13);
    EXPECT_TRUE(equal(resumed.next(), expected[13]));
  }
}

TEST(Loader, RandomCropsAreCachedUncropped) {
  const Uncropped set;
  Loader loader(set, {.batch_size = 11,
                      .workers = 1,
                      .prefetch = 1,
                      .random_crop = true,
                      .cache_bytes = 11 * 7 * 9});
  take(loader, 6);
  EXPECT_EQ(set.reads, 11);
  Loader small(set, {.batch_size = 11, .random_crop = true, .cache_bytes = 11 * 7 * 9 - 1});
  EXPECT_FALSE(small.cached());
}

TEST(Loader, CacheReadsEachImageOnce) {
  const Numbered set(40);
  Loader loader(set, {.batch_size = 40, .workers = 1, .prefetch = 1, .cache_bytes = 40 * 60});
  take(loader, 5);
  EXPECT_EQ(set.reads, 40);
  const Numbered other(40);
  Loader small(other, {.batch_size = 40, .workers = 1, .prefetch = 1, .cache_bytes = 40 * 60 - 1});
  EXPECT_FALSE(small.cached());
}

TEST(Loader, ThrowsTheWorkersErrorAtItsBatch) {
  const Numbered set(20, /*broken=*/13);
  const EpochSampler order(20, 6);
  int64_t place = 0;
  while (order.index_of(place) != 13) ++place;
  Loader loader(set, {.batch_size = 1, .seed = 6, .workers = 3});
  take(loader, static_cast<int>(place));
  for (int attempt = 0; attempt < 2; ++attempt) {
    EXPECT_CONTAINS(fixtures::message_of<IoError>([&] { loader.next(); }), "image 13: is broken");
  }
  loader.seek(place + 1);
  EXPECT_EQ(loader.next().ids[0].item<int64_t>(), place + 1);
}

TEST(Loader, BatchMayBeLargerThanTheSet) {
  const Numbered set(3);
  Loader loader(set, {.batch_size = 10, .seed = 6});
  const EpochSampler order(3, 6);
  const Batch batch = loader.next();
  for (int64_t i = 0; i < 10; ++i) EXPECT_EQ(index_in(batch, i), order.index_of(i));
}

TEST(Loader, StopsAtOnceWhereverItIs) {
  const Numbered set(200);
  for (int i = 0; i < 20; ++i) {
    Loader loader(set, {.batch_size = 16, .workers = 4});
    for (int k = 0; k < i % 3; ++k) loader.next();
    if (i % 2) loader.seek(i);
  }
}

TEST(Loader, RefusesSharesOutsideTheBatch) {
  const Numbered set(10);
  EXPECT_THROW(Loader(set, {.batch_size = 4, .global_batch = 6, .first = 3}), c10::Error);
  EXPECT_THROW(Loader(set, {.batch_size = 0}), c10::Error);
  EXPECT_THROW(Loader(set, {.batch_size = 1, .workers = 0}), c10::Error);
}

}  // namespace
}  // namespace ddpm::data
