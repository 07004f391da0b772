#include "ddpm/eval/sweep.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "src/eval/chart.h"
#include "tests/io/temporary_folder.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>
#include <torch/utils.h>

namespace ddpm::eval {
namespace {

const SweepCell kCell{50, {"eta-0.2", "eta 0.2"}};
const torch::Tensor kStrip = torch::arange(4 * 1 * 6 * 6).view({4, 1, 6, 6}).to(torch::kByte);

SweepResult result(double frechet) { return {frechet, 0.5, {0.01, std::nullopt, 0.25}, 0.125}; }

TEST(SweepFolder, ACellIsFoundAgain) {
  const TemporaryFolder folder;
  {
    const SweepFolder sweep(folder / "s", "{\"num\": 10}");
    EXPECT_FALSE(sweep.find(kCell));
    sweep.write(kCell, result(3.25), kStrip);
  }
  const auto found = SweepFolder(folder / "s", "{\"num\": 10}").find(kCell);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->frechet, 3.25);
  EXPECT_EQ(found->others[2], 0.25) << kSweepMetrics[2];
  EXPECT_FALSE(found->others[1]) << kSweepMetrics[1];
  EXPECT_THROW(SweepFolder(folder / "s", "{\"num\": 20}"), IoError);
  EXPECT_FALSE(SweepFolder(folder / "s", "{\"num\": 10}").find({50, {"eta-hat", "sigma-hat"}}));
}

// Two samples have a distance and no error.
TEST(SweepFolder, ACellWithoutAnErrorIsFoundAgain) {
  const TemporaryFolder folder;
  const SweepFolder sweep(folder / "s", "p");
  SweepResult unknown = result(1.0);
  unknown.frechet_error = std::nan("");
  sweep.write(kCell, unknown, kStrip);
  ASSERT_TRUE(sweep.find(kCell));
  EXPECT_TRUE(std::isnan(sweep.find(kCell)->frechet_error));
}

TEST(SweepFolder, ADamagedCellIsMissing) {
  const TemporaryFolder folder;
  const SweepFolder sweep(folder / "s", "p");
  sweep.write(kCell, result(1.0), kStrip);
  std::filesystem::resize_file(folder / "s" / (kCell.name() + ".json"), 20);
  EXPECT_FALSE(sweep.find(kCell));
  sweep.write(kCell, result(1.0), kStrip);
  std::filesystem::remove(folder / "s" / (kCell.name() + ".png"));
  EXPECT_FALSE(sweep.find(kCell));
  sweep.write(kCell, result(1.0), kStrip);
  std::filesystem::resize_file(folder / "s" / (kCell.name() + ".png"), 40);
  EXPECT_FALSE(sweep.find(kCell));
  // A digit of a number.
  sweep.write(kCell, result(1.5), kStrip);
  ASSERT_TRUE(sweep.find(kCell));
  const auto file = folder / "s" / (kCell.name() + ".json");
  std::string text = io::read_text(file);
  text.replace(text.find("1.5"), 3, "1.7");
  io::write_file_synced(file, std::string_view(text));
  EXPECT_FALSE(sweep.find(kCell));
}

TEST(SweepTable, TextCsvAndPicturesHaveEveryCell) {
  const TemporaryFolder folder;
  const SweepFolder sweep(folder / "s", "p");
  SweepTable table{{10, 20}, {{"eta-0", "eta 0"}, {"eta-hat", "sigma-hat"}}, {}};
  double value = 1.5;
  for (const SweepRow& row : table.rows)
    for (const int64_t steps : table.steps) {
      table.results.push_back(result(value));
      sweep.write({steps, row}, table.results.back(), kStrip);
      value *= 2;
    }
  EXPECT_EQ(table.at(1, 0).frechet, 6.0);
  const std::string text = to_text(table, "distance"), csv = to_csv(table);
  for (const char* number : {"1.5 +- 0.5", "3 +- 0.5", "6 +- 0.5", "12 +- 0.5", "sigma-hat"})
    EXPECT_NE(text.find(number), std::string::npos) << number << "\n" << text;
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 5);
  EXPECT_NE(csv.find("hat,20,12,0.5,0.01,,0.25,0.125"), std::string::npos) << csv;
  const torch::Tensor picture = draw_sweep(table, sweep, "title");
  EXPECT_EQ(picture.size(0), 3);
  EXPECT_GT(picture.size(2), 2 * 4 * 7);
  EXPECT_EQ(draw_sweep_curves(table, "title").dtype(), torch::kByte);
}

TEST(Chart, DrawsPointsWhereTheAxesSay) {
  ChartOptions options{.title = "", .x_label = "", .y_label = ""};
  const torch::Tensor image = draw_chart({{"", {0.0, 1.0}, {0.0, 1.0}}}, options);
  const Colour colour = colour_of(0);
  const auto is_line = [&](int64_t y, int64_t x) {
    return image[0][y][x].item<uint8_t>() == colour[0] &&
           image[2][y][x].item<uint8_t>() == colour[2];
  };
  EXPECT_TRUE(is_line(options.height - 41, 67)) << "the lower left corner";
  EXPECT_TRUE(is_line(36, options.width - 16)) << "the upper right corner";
  EXPECT_FALSE(is_line(60, 100));
}

TEST(Chart, LeavesOutWhatAnAxisCannotShow) {
  const double nan = std::nan("");
  const torch::Tensor image = draw_chart({{"a", {0.0, 1.0, 2.0, nan}, {-1.0, 0.0, 5.0, 1.0}}},
                                         {.log_x = true, .log_y = true});
  EXPECT_EQ(image.sizes(), (std::vector<int64_t>{3, 440, 720}));
  EXPECT_EQ(draw_chart({}, {.title = "empty"}).size(0), 3);
}

TEST(Chart, TextHasItsInkAndIsCutOffAtTheEdge) {
  const torch::Tensor image = torch::full({3, 10, 20}, 255, torch::kByte);
  draw_text_(image, 0, 0, "I");
  EXPECT_EQ((image[0] == 0).sum().item<int64_t>(), 7 + 2 + 2);  // a bar and two serifs
  draw_text_(image, 15, 5, "WWW");
  draw_text_(image, -3, -3, "W");
}

}  // namespace
}  // namespace ddpm::eval
