#include "ddpm/base/rng.h"
#include "ddpm/eval/features.h"
#include "ddpm/eval/metrics.h"
#include "ddpm/kernels/elementwise.h"
#include "tests/base/test_purpose.h"

#include <cmath>
#include <map>
#include <numeric>

#include <gtest/gtest.h>
#include <torch/utils.h>

// The errors that are stated against the spread that is found by sampling whole sets again and
// again: for every number, at the number of samples and of features that `ddpm eval` uses by
// default.

namespace ddpm::eval::spread_test {
namespace {

constexpr int64_t kSets = 20;

torch::Tensor normal(int64_t rows, int64_t columns, uint64_t seed) {
  torch::Tensor x = torch::empty({rows, columns}, torch::kDouble);
  kernels::fill_normal_(x, rng_key(seed, kTestPurpose), torch::arange(rows));
  return x;
}

// A world of images as a classifier with `dimension` features sees it: means of classes, variances
// that fall as those of networks do, and nothing below zero.
struct World {
  int64_t dimension = 128;
  int64_t classes = 0;  // 0: none

  torch::Tensor class_of(int64_t samples) const {
    return torch::arange(samples).remainder(std::max<int64_t>(classes, 1));
  }
  Features sample(int64_t samples, uint64_t seed, double quality) const {
    const torch::Tensor scale = torch::logspace(0, -1.5, dimension, 10.0, torch::kDouble);
    torch::Tensor x = normal(samples, dimension, seed) * quality + 0.3;
    torch::Tensor logits = normal(samples, 10, seed + 1000000);
    if (classes > 0) {
      const torch::Tensor of = class_of(samples);
      x += normal(classes, dimension, 77).index_select(0, of);
      logits += 4.0 * torch::one_hot(of, 10).to(torch::kDouble);
    }
    x = torch::relu(x * scale).to(torch::kFloat);
    return {x, logits.to(torch::kFloat), x.slice(1, 0, 40) + x.slice(1, 40, 80)};
  }
};

// Hands out what was sampled, batch by batch.
class Sampled final : public FeatureExtractor {
 public:
  explicit Sampled(Features all) : all_(std::move(all)) {}
  const ExtractorDescription& description() const override { return description_; }

 private:
  Features compute(const torch::Tensor& images) const override {
    const int64_t begin = next_, end = next_ += images.size(0);
    return {all_.pooled.slice(0, begin, end), all_.logits.slice(0, begin, end),
            all_.spatial.slice(0, begin, end)};
  }
  Features all_;
  mutable int64_t next_ = 0;
  ExtractorDescription description_{"sampled", "", "none", "distance"};
};

FeatureSet collected(const World& world, const Features& features) {
  const int64_t count = features.pooled.size(0);
  std::vector<int64_t> images(count), classes;
  std::iota(images.begin(), images.end(), int64_t{0});
  if (world.classes > 0)
    for (const int64_t n : images) classes.push_back(n % world.classes);
  const ImageSource source = [](const std::vector<int64_t>& wanted, const ImageSink& sink) {
    const auto total = static_cast<int64_t>(wanted.size());
    for (int64_t first = 0; first < total; first += 64)
      sink(first, torch::zeros({std::min<int64_t>(64, total - first), 1, 1, 1}, torch::kByte));
  };
  return collect(source, images, Sampled(features),
                 {.title = "", .classes = classes, .keep_bytes = kKeepAll});
}

Reference reference_of(const World& world, int64_t count) {
  const FeatureSet set = collected(world, world.sample(count, 5, 1.0));
  Reference r;
  r.gaussian = merged(set.groups).gaussian();
  r.spatial = merged(set.spatial_groups).gaussian();
  r.features = set.features;
  r.count = count;
  return r;
}

struct Ratio {
  double sum = 0.0, squares = 0.0, stated = 0.0;
  void add(const Measured& m) {
    sum += m.value;
    squares += m.value * m.value;
    stated += m.error / kSets;
  }
  double spread() const { return std::sqrt((squares - sum * sum / kSets) / (kSets - 1.0)); }
};

// The spread of 20 numbers is itself known to 16 %; a jackknife leans upwards, for numbers that
// hang on single neighbours by a half.
void expect_stated_spread(const World& world, int64_t samples, int64_t reference_images) {
  const Reference reference = reference_of(world, reference_images);
  std::map<std::string, Ratio> ratios;
  for (uint64_t set = 0; set < kSets; ++set) {
    const FeatureSet generated = collected(world, world.sample(samples, 100 + set, 0.9));
    const Metrics m = measure(generated, reference, {.kernel_subsets = 1});
    for (const Metric& metric : m.list) ratios[metric.key].add(metric.value.value());
  }
  for (const auto& [name, ratio] : ratios) {
    const double stated = ratio.stated / ratio.spread();
    testing::Test::RecordProperty(name, std::to_string(stated));
    EXPECT_GT(stated, 0.5) << name << ": stated " << ratio.stated << ", spread " << ratio.spread();
    EXPECT_LT(stated, 2.0) << name << ": stated " << ratio.stated << ", spread " << ratio.spread();
  }
}

TEST(Spread, OfEveryNumberIsStatedWithoutClasses) {
  expect_stated_spread({.classes = 0}, 1000, 1000);
}

// Classes in turn: their numbers are the same in every set, and their difference is no spread.
TEST(Spread, OfEveryNumberIsStatedWithClassesInTurn) {
  expect_stated_spread({.classes = 8}, 1000, 1000);
}

// As many features as Inception has to 1,000 samples, both an eighth.
TEST(Spread, OfEveryNumberIsStatedWithFewerSamplesThanFeatures) {
  expect_stated_spread({.dimension = 256, .classes = 3}, 125, 400);
}

}  // namespace
}  // namespace ddpm::eval::spread_test
