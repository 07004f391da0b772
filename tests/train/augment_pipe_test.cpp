#include "src/train/augment_pipe.h"

#include <cmath>
#include <initializer_list>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <torch/types.h>

// The augmentation of Karras 2022: its geometry by closed forms and by a second implementation, its
// random numbers by their distribution.

namespace ddpm::train {
namespace {

using Column = AugmentColumn;

// The parameters of `count` images, all zero but those given.
torch::Tensor parameters(std::initializer_list<std::pair<Column, double>> values,
                         int64_t count = 1) {
  torch::Tensor a = torch::zeros({count, kAugmentColumns}, torch::kDouble);
  for (const auto& [column, value] : values) a.select(1, static_cast<int64_t>(column)).fill_(value);
  return a;
}

torch::Tensor images(int64_t count, int64_t channels, int64_t height, int64_t width) {
  torch::manual_seed(5);
  return torch::rand({count, channels, height, width}, torch::kDouble) * 2 - 1;
}

TEST(AugmentPipe, ParametersOfZeroChangeNoBit) {
  for (const torch::Dtype dtype : {torch::kFloat, torch::kDouble}) {
    for (const auto& [height, width] : {std::pair{8, 8}, std::pair{7, 12}, std::pair{1, 5}}) {
      const torch::Tensor x = images(3, 2, height, width).to(dtype);
      EXPECT_TRUE(augmented(x, parameters({}, 3)).equal(x)) << height << "x" << width;
      const torch::Tensor last = x.contiguous(torch::MemoryFormat::ChannelsLast);
      EXPECT_TRUE(augmented(last, parameters({}, 3)).equal(x)) << "channels_last";
    }
  }
}

TEST(AugmentPipe, MirrorsExactly) {
  const torch::Tensor x = images(2, 3, 7, 12);
  EXPECT_TRUE(augmented(x, parameters({{Column::kFlipX, 1}}, 2)).equal(x.flip({3})));
  EXPECT_TRUE(augmented(x, parameters({{Column::kFlipY, 1}}, 2)).equal(x.flip({2})));
  EXPECT_TRUE(augmented(x, parameters({{Column::kFlipX, 1}, {Column::kFlipY, 1}}, 2))
                  .equal(x.flip({2, 3})));
}

// Column i of an axis that is mirrored about its first and last pixel.
int64_t mirrored_index(int64_t i, int64_t size) {
  while (i < 0 || i >= size) i = i < 0 ? -i : 2 * (size - 1) - i;
  return i;
}

TEST(AugmentPipe, ShiftsByWholePixelsAreExact) {
  constexpr int64_t kHeight = 8, kWidth = 16;
  const torch::Tensor x = images(1, 2, kHeight, kWidth);
  for (const auto& [right, down] : {std::pair{3, 0}, std::pair{-2, 5}, std::pair{20, -9}}) {
    std::vector<int64_t> rows, columns;
    for (int64_t y = 0; y < kHeight; ++y) rows.push_back(mirrored_index(y - down, kHeight));
    for (int64_t i = 0; i < kWidth; ++i) columns.push_back(mirrored_index(i - right, kWidth));
    const torch::Tensor expected =
        x.index_select(2, torch::tensor(rows)).index_select(3, torch::tensor(columns));
    // a = 1 shifts by an eighth of the side: 2 columns, 1 row.
    const torch::Tensor found = augmented(
        x, parameters({{Column::kTranslationX, right / 2.0}, {Column::kTranslationY, down}}));
    EXPECT_TRUE(found.equal(expected)) << right << " " << down;
  }
}

TEST(AugmentPipe, AQuarterTurnIsRot90) {
  for (const int64_t side : {8, 9}) {
    const torch::Tensor x = images(2, 3, side, side);
    for (const int64_t quarters : {-1, 1, 2}) {
      const torch::Tensor found =
          augmented(x, parameters({{Column::kRotation, quarters * M_PI / 2}}, 2));
      // rot90 turns from the second axis to the first. Sines and cosines are wrong by 1e-16.
      EXPECT_TRUE(torch::allclose(found, torch::rot90(x, -quarters, {2, 3}), 0.0, 1e-12))
          << side << " " << quarters;
    }
  }
}

// Cubic convolution with a = -1/2 leaves polynomials of second degree as they are (Keys 1981,
// Sec. IV): the result is that polynomial at the point that each pixel comes from.
TEST(AugmentPipe, APolynomialOfSecondDegreeIsTransformedExactly) {
  constexpr int64_t kSide = 33;
  constexpr double kMiddle = 16;
  const auto value = [](const torch::Tensor& u, const torch::Tensor& v) {
    return 1e-3 * (0.3 * u * u - 0.5 * u * v + 0.2 * v * v + 3 * u - 2 * v + 4);
  };
  const torch::Tensor at = torch::arange(kSide, torch::kDouble) - kMiddle;
  const torch::Tensor across = at.view({1, -1}), down = at.view({-1, 1});
  const torch::Tensor x = value(across, down).view({1, 1, kSide, kSide});
  const double turn = 0.4, grown = 1.3, shift = 1.7;
  const torch::Tensor found =
      augmented(x, parameters({{Column::kRotation, turn},
                               {Column::kScale, std::log2(grown) / 0.2},
                               {Column::kTranslationX, shift * 8 / kSide}}));
  // Backwards: not shifted, turned by -turn, smaller.
  const torch::Tensor before = across - shift;
  const torch::Tensor u = (std::cos(turn) * before + std::sin(turn) * down) / grown;
  const torch::Tensor v = (-std::sin(turn) * before + std::cos(turn) * down) / grown;
  const torch::Tensor expected = value(u, v);
  const torch::Tensor inside = (u.abs() < kMiddle - 2) & (v.abs() < kMiddle - 2);
  EXPECT_GT(inside.sum().item<int64_t>(), 500);
  EXPECT_LT((found[0][0] - expected).abs().masked_select(inside).max().item<double>(), 1e-13);
}

double keys(double s) {
  s = std::abs(s);
  if (s < 1) return 1.5 * s * s * s - 2.5 * s * s + 1;
  return s < 2 ? -0.5 * s * s * s + 2.5 * s * s - 4 * s + 2 : 0.0;
}

// One pixel by the matrices of Table 6, written as numbers, over all pixels near it.
double pixel(const torch::Tensor& image, const std::vector<double>& a, int64_t x, int64_t y) {
  const int64_t height = image.size(0), width = image.size(1);
  using M = std::array<double, 4>;
  const auto times = [](const M& p, const M& q) {
    return M{p[0] * q[0] + p[1] * q[2], p[0] * q[1] + p[1] * q[3], p[2] * q[0] + p[3] * q[2],
             p[2] * q[1] + p[3] * q[3]};
  };
  const auto turn = [](double r) { return M{std::cos(r), -std::sin(r), std::sin(r), std::cos(r)}; };
  const double s = std::pow(2, 0.2 * a[2]), k = std::pow(2, 0.2 * a[5]);
  M m{(1 - 2 * a[0]) * s, 0, 0, (1 - 2 * a[1]) * s};
  m = times(turn(a[3]), m);
  m = times(times(turn(a[4]), times(M{k, 0, 0, 1 / k}, turn(-a[4]))), m);
  const double det = m[0] * m[3] - m[1] * m[2];
  const M back{m[3] / det, -m[1] / det, -m[2] / det, m[0] / det};
  const double px = x - 0.5 * (width - 1) - width * a[6] / 8;
  const double py = y - 0.5 * (height - 1) - height * a[7] / 8;
  const double u = back[0] * px + back[1] * py + 0.5 * (width - 1);
  const double v = back[2] * px + back[3] * py + 0.5 * (height - 1);
  const double wide = std::clamp(std::hypot(back[0], back[1]), 1.0, 2.0);
  const double high = std::clamp(std::hypot(back[2], back[3]), 1.0, 2.0);
  double sum = 0, weights = 0;
  for (auto j = static_cast<int64_t>(v) - 8; j <= v + 8; ++j) {
    for (auto i = static_cast<int64_t>(u) - 8; i <= u + 8; ++i) {
      const double w = keys((i - u) / wide) * keys((j - v) / high);
      weights += w;
      sum += w * image[mirrored_index(j, height)][mirrored_index(i, width)].item<double>();
    }
  }
  return std::clamp(sum / weights, -1.0, 1.0);
}

TEST(AugmentPipe, AgreesWithTheMatricesOfTheTable) {
  const torch::Tensor x = images(6, 1, 9, 12);
  torch::manual_seed(11);
  torch::Tensor a = torch::randn({6, kAugmentColumns}, torch::kDouble);
  a.select(1, 0).copy_(torch::tensor({0, 1, 0, 1, 0, 1}));
  a.select(1, 1).copy_(torch::tensor({0, 0, 1, 1, 0, 1}));
  a[4][2] = -3.0;  // smaller by 2^(-0.6), stretched by 2^(+-0.5): wider than two pixels on one axis
  a[4][5] = 2.5;
  const torch::Tensor found = augmented(x, a);
  for (int64_t n = 0; n < 6; ++n) {
    const std::vector<double> row(a[n].data_ptr<double>(), a[n].data_ptr<double>() + 8);
    for (int64_t y = 0; y < 9; ++y)
      for (int64_t i = 0; i < 12; ++i)
        EXPECT_NEAR(found[n][0][y][i].item<double>(), pixel(x[n][0], row, i, y), 1e-12)
            << n << " " << y << " " << i;
  }
}

// Columns of 1 and -1 in turn would stay such columns, or vanish, by where the pixels fall.
TEST(AugmentPipe, ASmallerImageIsNotAliased) {
  const torch::Tensor stripes = (torch::arange(16, torch::kDouble).remainder(2) * 2 - 1)
                                    .view({1, 1, 1, 16})
                                    .expand({1, 1, 16, 16});
  for (const double shift : {0.0, 0.25}) {  // between two columns, and upon one
    const torch::Tensor half =
        augmented(stripes, parameters({{Column::kScale, -5}, {Column::kTranslationX, shift / 2}}));
    EXPECT_LT(half.abs().max().item<double>(), 0.05) << shift;
  }
}

TEST(AugmentPipe, LabelsAreThoseOfTheTable) {
  const torch::Tensor a =
      torch::tensor({{1.0, 0.0, 0.7, 0.5, -2.0, 1.5, -0.3, 0.2}}, torch::kDouble);
  const torch::Tensor expected =
      torch::tensor({{1.0, 0.0, 0.7, std::cos(0.5) - 1, std::sin(0.5), 1.5 * std::cos(-2.0),
                      1.5 * std::sin(-2.0), -0.3, 0.2}},
                    torch::kDouble);
  EXPECT_TRUE(torch::allclose(augment_labels(a), expected, 0.0, 1e-15));
  EXPECT_TRUE(augment_labels(parameters({}, 2)).equal(torch::zeros({2, 9}, torch::kDouble)));
}

class DrawnAugmentation : public testing::Test {
 protected:
  static constexpr int64_t kCount = 20000;
  static constexpr double kProbability = 0.12;
  torch::Tensor ids_ = torch::arange(1000, 1000 + kCount);
  torch::Tensor drawn_ = draw_augmentation(3, kProbability, ids_);

  torch::Tensor of(Column column) const { return drawn_.select(1, static_cast<int64_t>(column)); }
  torch::Tensor active(Column column) const { return of(column).masked_select(of(column) != 0); }
};

// Four standard errors of a share p of N.
double four_errors(double p, double n) { return 4 * std::sqrt(p * (1 - p) / n); }

TEST_F(DrawnAugmentation, SwitchesEachTransformationOnBySelf) {
  const auto share = [&](Column column) {
    return static_cast<double>(active(column).size(0)) / kCount;
  };
  EXPECT_NEAR(share(Column::kFlipX), 0.5, four_errors(0.5, kCount));
  EXPECT_NEAR(share(Column::kFlipY), 0.5 * kProbability, four_errors(0.06, kCount));
  for (const Column column : {Column::kScale, Column::kRotation, Column::kStretch,
                              Column::kTranslationX, Column::kTranslationY})
    EXPECT_NEAR(share(column), kProbability, four_errors(kProbability, kCount));
  const auto both = [&](Column a, Column b) {
    return ((of(a) != 0) & (of(b) != 0)).to(torch::kDouble).mean().item<double>();
  };
  const double product = kProbability * kProbability;
  EXPECT_NEAR(both(Column::kScale, Column::kRotation), product, four_errors(product, kCount));
  EXPECT_NEAR(both(Column::kScale, Column::kStretch), product, four_errors(product, kCount));
  EXPECT_NEAR(both(Column::kTranslationX, Column::kTranslationY), kProbability,
              four_errors(kProbability, kCount));
  EXPECT_NEAR(both(Column::kStretchAxis, Column::kStretch), kProbability,
              four_errors(kProbability, kCount));
}

TEST_F(DrawnAugmentation, HasTheDistributionsOfTheTable) {
  for (const Column column :
       {Column::kScale, Column::kStretch, Column::kTranslationX, Column::kTranslationY}) {
    const torch::Tensor z = active(column);
    const double n = static_cast<double>(z.size(0));
    EXPECT_NEAR(z.mean().item<double>(), 0.0, 4 / std::sqrt(n));
    EXPECT_NEAR(z.square().mean().item<double>(), 1.0, 4 * std::sqrt(2 / n));
  }
  for (const Column column : {Column::kRotation, Column::kStretchAxis}) {
    const torch::Tensor angle = active(column);
    const double n = static_cast<double>(angle.size(0));
    EXPECT_LT(angle.abs().max().item<double>(), M_PI);
    EXPECT_NEAR(angle.mean().item<double>(), 0.0, 4 * M_PI / std::sqrt(3 * n));
    // The square of a uniform number in -pi..pi: mean pi^2 / 3, deviation pi^2 sqrt(4 / 45).
    EXPECT_NEAR(angle.square().mean().item<double>(), M_PI * M_PI / 3,
                4 * M_PI * M_PI * std::sqrt(4.0 / 45 / n));
  }
  const torch::Tensor x = of(Column::kTranslationX), y = of(Column::kTranslationY);
  // Both normal in a share p of the samples: the deviation of a product is sqrt(p).
  EXPECT_NEAR((x * y).mean().item<double>(), 0.0, 4 * std::sqrt(kProbability / kCount));
}

TEST_F(DrawnAugmentation, IsAFunctionOfSeedAndSample) {
  const torch::Tensor order = torch::tensor({17, 4, 9000, 4});
  EXPECT_TRUE(draw_augmentation(3, kProbability, ids_.index_select(0, order))
                  .equal(drawn_.index_select(0, order)));
  EXPECT_FALSE(draw_augmentation(4, kProbability, ids_).equal(drawn_));
}

TEST_F(DrawnAugmentation, OfProbabilityZeroMirrorsAlone) {
  const torch::Tensor none = draw_augmentation(3, 0.0, ids_);
  EXPECT_TRUE(none.select(1, 0).equal(of(Column::kFlipX)));
  EXPECT_EQ(none.slice(1, 1).abs().max().item<double>(), 0.0);
}

}  // namespace
}  // namespace ddpm::train
