#include "ddpm/eval/reference.h"

#include "ddpm/base/error.h"
#include "ddpm/data/procedural.h"
#include "ddpm/data/subset.h"
#include "ddpm/eval/digest.h"
#include "ddpm/eval/feature_set.h"
#include "ddpm/eval/metrics.h"
#include "tests/io/temporary_folder.h"

#include <numeric>

#include <gtest/gtest.h>
#include <torch/utils.h>

namespace ddpm::eval {
namespace {

// Mean and deviation of each channel and quadrant: features with no network.
class Quadrants final : public FeatureExtractor {
 public:
  Features extract(const torch::Tensor& images) const override {
    calls += images.size(0);
    const torch::Tensor x = to_rgb(images).to(torch::kFloat) / 255.0;
    const torch::Tensor means = torch::adaptive_avg_pool2d(x, {2, 2});
    return {means.flatten(1), means.mean(torch::IntArrayRef{2, 3}), x.flatten(1).slice(1, 0, 9)};
  }
  const ExtractorDescription& description() const override { return description_; }
  mutable int64_t calls = 0;

 private:
  ExtractorDescription description_{"quadrants", "1", "none", "Frechet distance (quadrants)"};
};

std::vector<int64_t> first(int64_t count) {
  std::vector<int64_t> all(count);
  std::iota(all.begin(), all.end(), int64_t{0});
  return all;
}

const data::ProceduralShapes kShapes(230, {3, 16, 16}, 1);

TEST(FeatureSet, IsThatOfAllImagesWhateverTheBatch) {
  const Quadrants quadrants;
  const auto collected = [&](int64_t batch) {
    return collect(images_of(kShapes, batch), first(230), quadrants, {.title = "", .keep = 1000});
  };
  const FeatureSet a = collected(64), b = collected(7);
  ASSERT_EQ(a.features.sizes(), (std::vector<int64_t>{230, 12}));
  EXPECT_TRUE(torch::equal(a.features, b.features));
  const torch::Tensor x = a.features.to(torch::kDouble);
  const Gaussian g = merged(b.groups).gaussian();
  EXPECT_LT((g.mean - x.mean(0)).abs().max().item<double>(), 1e-12);
  EXPECT_LT((g.covariance - x.t().cov()).abs().max().item<double>(), 1e-12);
  EXPECT_EQ(b.groups.size(), 10u);
  EXPECT_EQ(b.groups[3].count(), 23);
  EXPECT_EQ(b.spatial_groups.size(), 10u);
}

TEST(FeatureSet, KeepsEvenlySpreadRowsWhereNotAllFit) {
  const Quadrants quadrants;
  const FeatureSet all =
      collect(images_of(kShapes, 50), first(230), quadrants, {.title = "", .keep = 230});
  const FeatureSet some =
      collect(images_of(kShapes, 50), first(230), quadrants, {.title = "", .keep = 60});
  EXPECT_EQ(some.stride, 4);
  EXPECT_TRUE(torch::equal(some.features, all.features.slice(0, 0, torch::nullopt, 4)));
}

TEST(Reference, IsMeasuredOnceAndAgainForOtherImages) {
  const TemporaryFolder folder;
  const Quadrants quadrants;
  const auto of = [&](const data::Dataset& data) {
    return measure_reference(data, digest_of_images(data), quadrants, folder.path(), torch::kCPU);
  };
  const Reference a = of(kShapes);
  EXPECT_FALSE(a.cached);
  const int64_t calls = quadrants.calls;
  const Reference b = of(kShapes);
  EXPECT_TRUE(b.cached);
  EXPECT_EQ(quadrants.calls, calls);
  EXPECT_TRUE(torch::equal(a.gaussian.covariance, b.gaussian.covariance));
  EXPECT_TRUE(torch::equal(a.features, b.features));
  EXPECT_TRUE(torch::equal(a.spatial->mean, b.spatial->mean));
  EXPECT_EQ(b.gaussian.count, 230);
  EXPECT_FALSE(of(data::ProceduralShapes(230, {3, 16, 16}, 2)).cached) << "another seed";
  EXPECT_FALSE(of(data::ProceduralShapes(229, {3, 16, 16}, 1)).cached) << "one image fewer";
}

// Statistics written by numpy.savez in scripts/make_eval_golden.py.
TEST(Reference, ReadsStatisticsOfOthers) {
  const std::filesystem::path file = DDPM_SOURCE_DIR "/tests/golden/eval_statistics.npz";
  ASSERT_TRUE(is_statistics_file(file));
  const Reference r = read_statistics(file);
  EXPECT_EQ(r.gaussian.mean.numel(), 3);
  EXPECT_EQ(r.gaussian.covariance[1][2].item<double>(), 0.25);
  EXPECT_FALSE(r.features.defined());
  EXPECT_FALSE(is_statistics_file(DDPM_SOURCE_DIR "/tests/golden/numpy_images.npz"));
}

class MetricsTest : public testing::Test {
 protected:
  Metrics against_reference(const data::Dataset& data, int64_t count) {
    const FeatureSet set =
        collect(images_of(data), first(count), quadrants_, {.title = "", .keep = kMostKept});
    return measure(set, reference_, {});
  }
  Quadrants quadrants_;
  TemporaryFolder folder_;
  Reference reference_ = measure_reference(kShapes, digest_of_images(kShapes), quadrants_,
                                           folder_.path(), torch::kCPU);
};

TEST_F(MetricsTest, TheReferenceItselfIsPerfectAndNotAuthentic) {
  const Metrics m = against_reference(kShapes, 230);
  EXPECT_NEAR(m.frechet.value, 0.0, 1e-9);
  EXPECT_EQ(m.manifold->precision.value, 1.0);
  EXPECT_EQ(m.manifold->recall.value, 1.0);
  EXPECT_EQ(m.manifold->coverage.value, 1.0);
  EXPECT_EQ(m.authenticity->value, 0.0);
  EXPECT_LT(std::abs(m.spatial->value), 1e-9);
}

TEST_F(MetricsTest, OtherImagesOfTheSameLawAreNearAndAuthentic) {
  const data::ProceduralShapes others(230, {3, 16, 16}, 5);
  const data::ProceduralShapes grey(230, {1, 16, 16}, 5);
  const Metrics near = against_reference(others, 230), far = against_reference(grey, 230);
  EXPECT_GT(near.authenticity->value, 0.3);
  EXPECT_LT(near.frechet.value, 0.5 * far.frechet.value);
  EXPECT_LT(near.kernel->value, far.kernel->value);
  EXPECT_GT(near.manifold->recall.value, far.manifold->recall.value);
  EXPECT_EQ(near.warnings.size(), 1u) << "230 are few";
}

TEST_F(MetricsTest, FewerSamplesThanFeaturesIsFiniteAndSaid) {
  const Metrics m = against_reference(kShapes, 5);
  EXPECT_TRUE(std::isfinite(m.frechet.value) && std::isfinite(m.frechet.error));
  ASSERT_FALSE(m.warnings.empty());
  EXPECT_NE(m.warnings[0].find("fewer than the 12 features"), std::string::npos) << m.warnings[0];
}

TEST_F(MetricsTest, StatisticsOfAnotherNetworkAreRefused) {
  const FeatureSet set =
      collect(images_of(kShapes), first(20), quadrants_, {.title = "", .keep = 20});
  const Reference other = read_statistics(DDPM_SOURCE_DIR "/tests/golden/eval_statistics.npz");
  EXPECT_THROW(measure(set, other, {}), UsageError);
}

TEST_F(MetricsTest, NeighboursOfTrainingImagesAreThemselves) {
  std::vector<torch::Tensor> images{kShapes.get(17).image, kShapes.get(200).image};
  const torch::Tensor batch = torch::stack(images);
  const torch::Tensor picture =
      neighbour_picture(batch, quadrants_.extract(batch).pooled, reference_, kShapes, 3);
  ASSERT_EQ(picture.sizes(), (std::vector<int64_t>{3, 2 * 18 + 2, 4 * 18 + 2}));
  const auto cell = [&](int64_t row, int64_t column) {
    return picture.slice(1, 2 + 18 * row, 18 + 18 * row)
        .slice(2, 2 + 18 * column, 18 + 18 * column);
  };
  for (int64_t row = 0; row < 2; ++row) {
    EXPECT_TRUE(torch::equal(cell(row, 0), images[row]));
    EXPECT_TRUE(torch::equal(cell(row, 1), images[row]));
    EXPECT_FALSE(torch::equal(cell(row, 2), images[row]));
  }
}

}  // namespace
}  // namespace ddpm::eval
