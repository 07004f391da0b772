#include "ddpm/eval/reference.h"

#include "ddpm/base/error.h"
#include "ddpm/data/factory.h"
#include "ddpm/data/view.h"
#include "ddpm/eval/features.h"
#include "ddpm/eval/metrics.h"
#include "ddpm/io/file.h"
#include "src/data/procedural.h"
#include "src/eval/digest.h"
#include "tests/io/temporary_folder.h"

#include <numeric>

#include <gtest/gtest.h>
#include <torch/utils.h>

namespace ddpm::eval {
namespace {

// Mean and deviation of each channel and quadrant: features with no network.
class Quadrants final : public FeatureExtractor {
 public:
  const ExtractorDescription& description() const override { return description_; }
  mutable int64_t calls = 0;

 private:
  Features compute(const torch::Tensor& images) const override {
    calls += images.size(0);
    const torch::Tensor x = to_rgb(images).to(torch::kFloat) / 255.0;
    const torch::Tensor means = torch::adaptive_avg_pool2d(x, {2, 2});
    return {means.flatten(1), means.mean(torch::IntArrayRef{2, 3}), x.flatten(1).slice(1, 0, 9)};
  }
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
    return collect(images_of(kShapes, batch), first(230), quadrants,
                   {.title = "", .keep_bytes = kKeepAll});
  };
  const FeatureSet a = collected(64), b = collected(7);
  ASSERT_EQ(a.features.sizes(), (std::vector<int64_t>{230, 12}));
  EXPECT_TRUE(torch::equal(a.features, b.features));
  const torch::Tensor x = a.features.to(torch::kDouble);
  const Gaussian g = merged(b.groups).gaussian();
  EXPECT_LT((g.mean - x.mean(0)).abs().max().item<double>(), 1e-12);
  EXPECT_LT((g.covariance - x.t().cov()).abs().max().item<double>(), 1e-12);
  EXPECT_EQ(b.groups.size(), 16u);
  EXPECT_EQ(b.spatial_groups.size(), 16u);
  for (int64_t g = 0; g < 16; ++g) {  // the groups' moments are those of the rows dealt to them
    const torch::Tensor rows = (b.sampling.ids() == g).nonzero().squeeze(1);
    EXPECT_EQ(b.groups[g].count(), rows.numel());
    EXPECT_LT(
        (b.groups[g].gaussian().mean - x.index_select(0, rows).mean(0)).abs().max().item<double>(),
        1e-12);
  }
}

TEST(FeatureSet, KeepsEvenlySpreadRowsIfNotAllFit) {
  const Quadrants quadrants;
  const FeatureSet all =
      collect(images_of(kShapes, 50), first(230), quadrants, {.title = "", .keep_bytes = kKeepAll});
  const FeatureSet some = collect(images_of(kShapes, 50), first(230), quadrants,
                                  {.title = "", .keep_bytes = 60 * 12 * 4});
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
  ASSERT_EQ(npz_content(file), NpzContent::kStatistics);
  const Reference r = read_statistics(file);
  EXPECT_EQ(r.gaussian.mean.numel(), 3);
  EXPECT_EQ(r.gaussian.covariance[1][2].item<double>(), 0.25);
  EXPECT_FALSE(r.features.defined());
  EXPECT_EQ(npz_content(DDPM_SOURCE_DIR "/tests/golden/numpy_images.npz"),
            NpzContent::kNoStatistics);
}

// What must be found damaged: nothing in the file is as it was written.
TEST(Reference, ADamagedFileInTheCacheIsMadeAnew) {
  const TemporaryFolder folder;
  const Quadrants quadrants;
  const auto measured = [&] {
    return measure_reference(kShapes, digest_of_images(kShapes), quadrants, folder.path(),
                             torch::kCPU);
  };
  const Reference whole = measured();
  const std::filesystem::path file = std::filesystem::directory_iterator(folder.path())->path();
  const std::vector<uint8_t> bytes = io::read_file(file);
  const auto damaged = [&](std::vector<uint8_t> content) {
    io::write_file_synced(file, std::span<const uint8_t>(content));
    const Reference again = measured();
    EXPECT_FALSE(again.cached);
    EXPECT_TRUE(torch::equal(again.features, whole.features));
    EXPECT_TRUE(torch::equal(again.gaussian.covariance, whole.gaussian.covariance));
    EXPECT_TRUE(measured().cached) << "it was written anew";
  };
  for (size_t at : {size_t{3}, size_t{20}, bytes.size() / 4, bytes.size() / 2, bytes.size() - 5}) {
    std::vector<uint8_t> flipped = bytes;
    flipped[at] ^= 0x10;
    damaged(flipped);
  }
  damaged({bytes.begin(), bytes.begin() + bytes.size() / 3});
  damaged({});
}

class MetricsTest : public testing::Test {
 protected:
  Metrics against_reference(const data::Dataset& data, int64_t count) {
    const FeatureSet set =
        collect(images_of(data), first(count), quadrants_, {.title = "", .keep_bytes = kKeepAll});
    return measure(set, reference_, {});
  }
  Quadrants quadrants_;
  TemporaryFolder folder_;
  Reference reference_ = measure_reference(kShapes, digest_of_images(kShapes), quadrants_,
                                           folder_.path(), torch::kCPU);
};

TEST_F(MetricsTest, TheReferenceItselfIsPerfectAndNotAuthentic) {
  const Metrics m = against_reference(kShapes, 230);
  EXPECT_NEAR(m["frechet"]->value, 0.0, 1e-9);
  EXPECT_EQ(m["precision"]->value, 1.0);
  EXPECT_EQ(m["recall"]->value, 1.0);
  EXPECT_EQ(m["coverage"]->value, 1.0);
  EXPECT_EQ(m["authenticity"]->value, 0.0);
  EXPECT_LT(std::abs(m["spatial_frechet"]->value), 1e-9);
}

TEST_F(MetricsTest, OtherImagesOfTheSameLawAreNearAndAuthentic) {
  const data::ProceduralShapes others(230, {3, 16, 16}, 5);
  const data::ProceduralShapes grey(230, {1, 16, 16}, 5);
  const Metrics near = against_reference(others, 230), far = against_reference(grey, 230);
  EXPECT_GT(near["authenticity"]->value, 0.3);
  EXPECT_LT(near["frechet"]->value, 0.5 * far["frechet"]->value);
  EXPECT_LT(near["kernel"]->value, far["kernel"]->value);
  EXPECT_GT(near["recall"]->value, far["recall"]->value);
  EXPECT_EQ(near.warnings.size(), 2u) << "230 are few, for distances and for balls";
}

TEST_F(MetricsTest, FewerSamplesThanFeaturesIsFiniteAndSaid) {
  const Metrics m = against_reference(kShapes, 5);
  EXPECT_TRUE(std::isfinite(m["frechet"]->value) && std::isfinite(m["frechet"]->error));
  ASSERT_FALSE(m.warnings.empty());
  EXPECT_NE(m.warnings[0].find("fewer than the 12 features"), std::string::npos) << m.warnings[0];
}

TEST_F(MetricsTest, StatisticsOfAnotherNetworkAreRefused) {
  const FeatureSet set =
      collect(images_of(kShapes), first(20), quadrants_, {.title = "", .keep_bytes = kKeepAll});
  const Reference other = read_statistics(DDPM_SOURCE_DIR "/tests/golden/eval_statistics.npz");
  EXPECT_THROW(measure(set, other, {}), UsageError);
}

// scripts/make_eval_golden.py wrote images and, beside them, statistics that are not theirs.
TEST_F(MetricsTest, DistancesAreToTheStatisticsBesideImagesAllElseToTheImages) {
  const std::filesystem::path file = DDPM_SOURCE_DIR "/tests/golden/eval_adm.npz";
  ASSERT_EQ(npz_content(file), NpzContent::kStatisticsAndImages);
  data::DataConfig config;
  config.path = file;
  const auto images = data::open_dataset(config, 0);
  const Reference both = with_statistics(measure_reference(*images, digest_of_images(*images),
                                                           quadrants_, folder_.path(), torch::kCPU),
                                         read_statistics(file));
  EXPECT_NE(both.description.find("statistics eval_adm.npz"), std::string::npos);
  const FeatureSet set =
      collect(images_of(*images), first(16), quadrants_, {.title = "", .keep_bytes = kKeepAll});
  const Metrics m = measure(set, both, {});
  EXPECT_EQ(m["precision"]->value, 1.0) << "these are the images themselves";
  const auto identity = [](int64_t d) { return torch::eye(d, torch::kDouble); };
  const Gaussian pooled{0, torch::full({12}, 0.25, torch::kDouble), 0.5 * identity(12)};
  const Gaussian spatial{0, torch::full({9}, 0.125, torch::kDouble), 2.0 * identity(9)};
  EXPECT_NEAR(m["frechet"]->value, FrechetDistance(pooled).to(merged(set.groups).gaussian()),
              1e-12);
  EXPECT_NEAR(m["spatial_frechet"]->value,
              FrechetDistance(spatial).to(merged(set.spatial_groups).gaussian()), 1e-12);
  EXPECT_GT(m["frechet"]->value, 1.0);
}

// Twice as many samples as reference images: every second would be every second class.
TEST_F(MetricsTest, RecallSeesAllClassesOfMoreSamplesThanReferenceImages) {
  class Doubled final : public data::Dataset {
   public:
    int64_t size() const override { return 460; }
    data::ImageShape shape() const override { return kShapes.shape(); }
    int64_t class_count() const override { return 0; }
    std::vector<std::string> class_names() const override { return {}; }
    std::string description() const override { return "each image, then a black one"; }
    data::Example get(int64_t i) const override {
      const torch::Tensor image = kShapes.get(i / 2).image;
      return {i % 2 == 0 ? torch::zeros_like(image) : image, -1};
    }
  };
  EXPECT_GT(against_reference(Doubled(), 460)["recall"]->value, 0.3);
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
