#include "ddpm/eval/evaluator.h"

#include "ddpm/base/error.h"
#include "ddpm/eval/sweep.h"
#include "ddpm/io/file.h"
#include "ddpm/io/image.h"
#include "src/data/procedural.h"
#include "tests/io/temporary_folder.h"

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/csrc/jit/api/module.h>

namespace ddpm::eval {
namespace {

// 40 images and a feature network of 12 numbers: the mean of each channel and quadrant.
class EvaluatorTest : public testing::Test {
 protected:
  EvaluatorTest() {
    torch::jit::Module network("Quadrants");
    network.define(
        "def forward(self, x):\n"
        "  return torch.adaptive_avg_pool2d(x.float() / 255.0, [2, 2]).flatten(1)\n");
    network.save(folder_ / "features.pt");
  }
  Evaluator evaluator() const {
    return {{images_, "all"}, {.features = folder_ / "features.pt", .cache = folder_ / "cache"}};
  }
  Samples samples(int64_t count) const {
    std::vector<int64_t> indices(count);
    std::iota(indices.begin(), indices.end(), int64_t{0});
    return {images_of(*images_), indices, images_->shape()};
  }

  TemporaryFolder folder_;
  std::shared_ptr<const data::Dataset> images_ =
      std::make_shared<data::ProceduralShapes>(40, data::ImageShape{3, 16, 16}, 1);
};

TEST_F(EvaluatorTest, TheReferenceIsAtDistanceZeroFromItself) {
  const Evaluator e = evaluator();
  const Metrics metrics = e.measure(e.collect(samples(40), ""), {});
  EXPECT_NEAR(metrics["frechet"]->value, 0.0, 1e-9);
  EXPECT_EQ(metrics["precision"]->value, 1.0);
  EXPECT_FALSE(e.measure(e.collect(samples(40), "", /*frechet_only=*/true), {})["precision"]);
  EXPECT_EQ(e.protocol().at("reference_num"), 40);
  EXPECT_EQ(e.protocol().at("dimensions"), 12);
  EXPECT_EQ(protocol_line(e.protocol()).find("protocol: reference "), 0u);
}

TEST_F(EvaluatorTest, OtherShapesAndStatisticsWithoutTheirNetworkAreRefused) {
  EXPECT_NO_THROW(evaluator().expect_shape({3, 16, 16}));
  EXPECT_THROW(evaluator().expect_shape({1, 16, 16}), UsageError);
  const std::filesystem::path statistics = DDPM_SOURCE_DIR "/tests/golden/eval_statistics.npz";
  const ReferenceData data = reference_at(statistics);
  EXPECT_EQ(data.images, nullptr);
  EXPECT_THROW(Evaluator(data, {.features = "train", .cache = folder_ / "cache"}), UsageError);
}

TEST_F(EvaluatorTest, TheNetworksWarningsComeFirst) {
  const Evaluator e({images_, "all"}, {.features = "train", .cache = folder_ / "cache"});
  const Metrics metrics = e.measure(e.collect(samples(8), ""), {});
  ASSERT_FALSE(e.network().warnings.empty()) << "40 images are few for a classifier";
  EXPECT_EQ(metrics.warnings.front(), e.network().warnings.front());
  EXPECT_EQ(to_text(metrics, e.network()).find("NOT RELIABLE: "), 0u);
}

TEST_F(EvaluatorTest, ASweepMeasuresOnlyTheCellsThatItsFolderLacks) {
  const Evaluator e = evaluator();
  const SweepFolder folder(folder_ / "sweep", "p");
  std::map<std::string, int> sampled;
  const auto run = [&] {
    SweepTable table{{2, 4}, {{"eta-0", "eta 0"}, {"eta-hat", "sigma-hat"}}, {}};
    sampled.clear();
    const auto samples_of = [&](const SweepCell& cell) {
      ++sampled[cell.name()];
      return samples(cell.row.key == "eta-0" ? 40 : 10 + cell.steps);
    };
    run_sweep(table, folder, e, samples_of, 7);
    return table;
  };
  const SweepTable first = run();
  EXPECT_EQ(sampled.size(), 4u);
  EXPECT_NEAR(first.at(0, 1).frechet, 0.0, 1e-9);
  EXPECT_GT(first.at(1, 0).frechet, first.at(1, 1).frechet) << "12 images represent 40 worse";
  EXPECT_EQ(first.at(0, 0).others[1], 1.0) << kSweepMetrics[1];

  std::filesystem::remove(folder_ / "sweep/steps-0004-eta-hat.json");
  const SweepTable second = run();
  EXPECT_EQ(sampled, (std::map<std::string, int>{{"steps-0004-eta-hat", 1}}));
  for (size_t i = 0; i < 4; ++i)
    EXPECT_EQ(first.results[i].frechet, second.results[i].frechet) << i;
  write_sweep(second, folder, e, 40);
  EXPECT_EQ(io::read_text(folder_ / "sweep/sweep.csv"), to_csv(second));
  EXPECT_EQ(to_json(second).size(), 4u);
}

TEST(SweepSteps, GoUpToT) {
  EXPECT_EQ(default_sweep_steps(20), (std::vector<int64_t>{10, 20}));
  EXPECT_EQ(default_sweep_steps(1000), (std::vector<int64_t>{10, 20, 50, 100, 1000}));
  EXPECT_EQ(default_sweep_steps(4000), (std::vector<int64_t>{10, 20, 50, 100, 1000}));
}

TEST(Samples, OfAFolderHaveTheClassesThatItsRecordNames) {
  const TemporaryFolder folder;
  const torch::Tensor image = torch::zeros({1, 8, 8}, torch::kByte);
  for (int i = 0; i < 6; ++i)
    io::write_png(folder / ("00000" + std::to_string(i) + ".png"), image + i);
  EXPECT_TRUE(samples_at(folder.path(), {}).classes.empty()) << "no record";
  io::write_file_synced(folder / "sampling.json",
                        std::string_view(R"({"images": 6, "settings": {"classes": [4, 7]}})"));
  const Samples all = samples_at(folder.path(), {});
  EXPECT_EQ(all.classes, (std::vector<int64_t>{0, 1, 0, 1, 0, 1}));
  EXPECT_EQ(all.shape, (data::ImageShape{1, 8, 8}));
  std::vector<torch::Tensor> kept;
  keep_first(all.source, 2, kept)(all.indices, [](int64_t, const torch::Tensor&) {});
  ASSERT_EQ(kept.size(), 2u);
  EXPECT_TRUE(torch::equal(kept[1], image + 1));
  EXPECT_EQ(samples_at(folder.path(), 4).indices.size(), 4u);
  EXPECT_THROW(samples_at(folder.path(), 7), UsageError);
}

}  // namespace
}  // namespace ddpm::eval
