#include "ddpm/data/loader.h"
#include "ddpm/data/view.h"
#include "src/data/procedural.h"

#include <memory>

#include <gtest/gtest.h>
#include <torch/cuda.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

// 9x11 images of which 8x8 are used.
class Large final : public Dataset {
 public:
  int64_t size() const override { return 23; }
  ImageShape shape() const override { return {3, 8, 8}; }
  int64_t class_count() const override { return 8; }
  std::vector<std::string> class_names() const override { return shapes_.class_names(); }
  Example get(int64_t index) const override {
    Example example = get_uncropped(index);
    example.image = example.image.narrow(1, 0, 8).narrow(2, 1, 8);
    return example;
  }
  Example get_uncropped(int64_t index) const override { return shapes_.get(index); }
  std::optional<ImageShape> uncropped_shape() const override { return shapes_.shape(); }
  std::string description() const override { return "large"; }

 private:
  ProceduralShapes shapes_{23, {3, 9, 11}, 5};
};

// The same images as floats, a quarter of a level lighter.
class Lighter final : public View {
 public:
  Lighter() : View(std::make_shared<Large>()) {}
  torch::Dtype pixel_type() const override { return torch::kFloat; }
  Example get(int64_t index) const override { return lighter(whole().get(index)); }
  Example get_uncropped(int64_t index) const override {
    return lighter(whole().get_uncropped(index));
  }

 private:
  static Example lighter(const Example& example) {
    return {example.image.to(torch::kFloat) + 0.25, example.label};
  }
};

LoaderOptions options(bool flip, bool random_crop) {
  LoaderOptions o;
  o.batch_size = 6;
  o.global_batch = 10;
  o.first = 2;
  o.seed = 4;
  o.flip = flip;
  o.random_crop = random_crop;
  return o;
}

void expect_same_batches(const Dataset& dataset, const LoaderOptions& o,
                         const torch::Device& device) {
  Loader loader(dataset, o);
  ResidentLoader resident(dataset, o, device);
  for (const int64_t start : {0, 7}) {  // 7 * 10 lies beyond the first epochs
    loader.seek(start);
    resident.seek(start);
    for (int k = 0; k < 4; ++k) {
      const Batch a = loader.next(), b = resident.next();
      EXPECT_EQ(b.images.device().type(), device.type());
      EXPECT_TRUE(a.images.equal(b.images.cpu())) << start << " + " << k;
      EXPECT_TRUE(a.labels.equal(b.labels.cpu()));
      EXPECT_TRUE(a.ids.equal(b.ids.cpu()));
      EXPECT_TRUE(b.images.is_contiguous());
    }
    EXPECT_EQ(resident.position(), loader.position());
  }
}

TEST(ResidentLoader, GivesTheBatchesOfLoader) {
  for (const bool flip : {false, true}) {
    for (const bool crop : {false, true}) {
      expect_same_batches(Large(), options(flip, crop), torch::kCPU);
      expect_same_batches(Lighter(), options(flip, crop), torch::kCPU);
    }
  }
}

TEST(ResidentLoaderGpu, GivesTheBatchesOfLoader) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA GPU";
  expect_same_batches(Large(), options(true, true), torch::kCUDA);
  expect_same_batches(Lighter(), options(true, true), torch::kCUDA);
}

TEST(Loaders, GiveFloatsWhereTheyGiveBytes) {
  for (const bool flip : {false, true}) {
    for (const bool crop : {false, true}) {
      for (const int64_t cache : {0, 1 << 20}) {
        LoaderOptions o = options(flip, crop);
        o.cache_bytes = cache;
        const Large bytes;
        const Lighter floats;
        Loader a(bytes, o), b(floats, o);
        EXPECT_EQ(b.cached(), cache > 0);
        for (int k = 0; k < 9; ++k)
          EXPECT_TRUE(b.next().images.equal(a.next().images.to(torch::kFloat) + 0.25));
      }
    }
  }
}

TEST(ResidentBytes, CountTheImagesAsTheyAreKept) {
  const Large dataset;
  EXPECT_EQ(resident_bytes(dataset, options(true, false)), 23 * 3 * 8 * 8);
  EXPECT_EQ(resident_bytes(dataset, options(true, true)), 23 * 3 * 9 * 11);
  EXPECT_EQ(resident_bytes(Lighter(), options(true, false)), 4 * 23 * 3 * 8 * 8);
}

}  // namespace
}  // namespace ddpm::data
