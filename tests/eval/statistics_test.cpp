#include "ddpm/eval/frechet.h"
#include "ddpm/eval/inception_score.h"
#include "ddpm/eval/kernel_distance.h"
#include "ddpm/eval/manifold.h"
#include "ddpm/kernels/random.h"
#include "tests/eval/golden.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/utils.h>

namespace ddpm::eval {
namespace {

constexpr double kRelative = 1e-6;  // against scipy and numpy, in another order of arithmetic

Gaussian gaussian_of(const torch::Tensor& x) {
  Moments m;
  m.add(x);
  return m.gaussian();
}

torch::Tensor normal(int64_t rows, int64_t columns, uint64_t seed) {
  torch::Tensor x = torch::empty({rows, columns}, torch::kDouble);
  kernels::fill_normal_(x, rng_key(seed, Purpose::kTest), torch::arange(rows));
  return x;
}

// `count` groups of x's rows, dealt in turn.
std::vector<Moments> groups_of(const torch::Tensor& x, int64_t count) {
  std::vector<Moments> groups(count);
  for (int64_t g = 0; g < count; ++g) groups[g].add(x.slice(0, g, torch::nullopt, count));
  return groups;
}

TEST(Moments, DoNotDependOnPiecesOrOrder) {
  const torch::Tensor x =
      normal(101, 9, 1) + 1e3;  // far from 0: a naive sum of squares loses digits
  const Gaussian whole = gaussian_of(x);
  Moments pieces;
  for (int64_t first = 90; first >= 0; first -= 10) pieces.add(x.slice(0, first, first + 10));
  Moments last, rest;
  last.add(x.slice(0, 100, 101));
  rest.merge(last);
  rest.merge(pieces);
  EXPECT_EQ(rest.count(), 101);
  EXPECT_LT((rest.gaussian().mean - x.mean(0)).abs().max().item<double>(), 1e-11);
  EXPECT_LT((rest.gaussian().covariance - x.t().cov()).abs().max().item<double>(), 1e-10);
  EXPECT_LT((whole.covariance - x.t().cov()).abs().max().item<double>(), 1e-10);
}

TEST(Frechet, IsScipysByTheMatrixSquareRoot) {
  const auto file = golden("statistics");
  const double expected = number(file, "frechet");
  const Gaussian x = gaussian_of(file.get("x")), y = gaussian_of(file.get("y"));
  EXPECT_NEAR(FrechetDistance(x).to(y), expected, kRelative * expected);
  EXPECT_NEAR(FrechetDistance(y).to(x), expected, kRelative * expected);
}

TEST(Frechet, HoldsWithFewerVectorsThanDimensions) {
  const auto file = golden("statistics");
  const Gaussian x = gaussian_of(file.get("few_x")), y = gaussian_of(file.get("few_y"));
  const double expected = number(file, "few_frechet");
  EXPECT_NEAR(FrechetDistance(x).to(y), expected, kRelative * expected);
  const Gaussian narrow = gaussian_of(file.get("few_x").slice(1, 0, 12));
  const double mixed = number(file, "mixed_frechet");
  EXPECT_NEAR(FrechetDistance(narrow).to(gaussian_of(file.get("y"))), mixed, kRelative * mixed);
}

TEST(Frechet, IsZeroToItselfAlsoWhereVectorsAreFewOrConstant) {
  for (const int64_t rows : {200, 8}) {
    const Gaussian g = gaussian_of(normal(rows, 30, 3));
    EXPECT_NEAR(FrechetDistance(g).to(g), 0.0, 1e-10 * g.covariance.trace().item<double>()) << rows;
  }
  const Gaussian constant = gaussian_of(torch::full({5, 4}, 2.0));
  const Gaussian moved = gaussian_of(torch::full({5, 4}, 3.0));
  EXPECT_EQ(FrechetDistance(constant).to(constant), 0.0);
  EXPECT_NEAR(FrechetDistance(constant).to(moved), 4.0, 1e-12);  // four dimensions, 1 apart in each
}

TEST(Frechet, OfAxisAlignedNormalsHasItsClosedForm) {
  const torch::Tensor s = torch::arange(1, 6, torch::kDouble), r = s.flip(0);
  const Gaussian a{0, torch::zeros(5, torch::kDouble), s.square().diag()};
  const Gaussian b{0, torch::ones(5, torch::kDouble), r.square().diag()};
  const double expected = 5.0 + (s - r).square().sum().item<double>();
  EXPECT_NEAR(FrechetDistance(a).to(b), expected, 1e-12 * expected);
}

// The error that is stated against the one that is found by drawing the whole set again and again.
TEST(Frechet, BootstrapErrorIsTheSpreadOfIndependentSets) {
  const FrechetDistance distance(gaussian_of(normal(4000, 4, 11)));
  std::vector<double> values;
  double stated = 0.0;
  for (uint64_t set = 0; set < 40; ++set) {
    const Measured m = distance.to(groups_of(normal(300, 4, 100 + set) * 1.3 + 0.2, 10), 20, set);
    values.push_back(m.value);
    stated += m.error / 40.0;
  }
  const double spread = torch::tensor(values, torch::kDouble).std().item<double>();
  // A spread of 40 numbers is known to 11 %; a bootstrap over 10 groups leans upwards a little.
  EXPECT_NEAR(stated / spread, 1.0, 0.4);
}

TEST(Kernel, IsTheUnbiasedEstimateByTheDefinition) {
  const auto file = golden("statistics");
  const double expected = number(file, "kernel");
  EXPECT_NEAR(kernel_distance(file.get("x"), file.get("y")), expected, kRelative * expected);
}

TEST(Kernel, SubsetsAgreeWithTheWholeAndRepeat) {
  const auto file = golden("statistics");
  const torch::Tensor x = file.get("x"), y = file.get("y");
  const Measured all = kernel_distance(x, x.clone(), {.subsets = 3, .subset_size = 1000});
  EXPECT_LT(all.error, 1e-9) << "subsets as large as the set are all the set";
  const KernelOptions options{.subsets = 200, .subset_size = 100, .seed = 5};
  const Measured a = kernel_distance(x, y, options), b = kernel_distance(x, y, options);
  EXPECT_EQ(a.value, b.value);
  EXPECT_GT(a.error, 0.0);
  const double expected = number(file, "kernel");
  EXPECT_NEAR(a.value, expected, 4.0 * a.error / std::sqrt(200.0));
}

TEST(Kernel, HasNoBiasOnSetsOfOneLaw) {
  double sum = 0.0, squares = 0.0;
  for (uint64_t i = 0; i < 200; ++i) {
    const double d = kernel_distance(normal(20, 3, 2 * i), normal(20, 3, 2 * i + 1));
    sum += d;
    squares += d * d;
  }
  const double error = std::sqrt(squares) / 200.0;  // of the mean
  EXPECT_LT(std::abs(sum / 200.0), 4.0 * error);
}

TEST(Score, IsScipysEntropyByParts) {
  const auto file = golden("statistics");
  const Measured score = inception_score(file.get("logits"), 4);
  const torch::Tensor expected = file.get("score");
  EXPECT_NEAR(score.value, expected[0].item<double>(), kRelative * score.value);
  EXPECT_NEAR(score.error, expected[1].item<double>(), kRelative * score.value);
}

TEST(Score, IsOneWhereAllAreAlikeAndTheNumberOfClassesWhereAllAreSure) {
  EXPECT_NEAR(inception_score(torch::ones({10, 4}), 1).value, 1.0, 1e-12);
  const torch::Tensor sure = torch::eye(5, torch::kDouble).repeat({4, 1}) * 2000.0;
  EXPECT_NEAR(inception_score(sure, 1).value, 5.0, 1e-9);
}

TEST(Manifold, IsTheDefinitionPairByPair) {
  const auto file = golden("statistics");
  const torch::Tensor expected = file.get("manifold");
  const ManifoldScores s = manifold_scores(file.get("x"), file.get("y"));
  const double found[] = {s.precision.value, s.recall.value, s.density.value, s.coverage.value};
  for (int64_t i = 0; i < 4; ++i) EXPECT_NEAR(found[i], expected[i].item<double>(), kRelative) << i;
  const double p = s.precision.value;
  EXPECT_NEAR(s.precision.error, std::sqrt(p * (1 - p) / 170.0), 1e-12);  // of a share of 170
}

TEST(Manifold, LosesPrecisionToNoiseAndRecallToRepetition) {
  const torch::Tensor real = normal(300, 5, 1);
  EXPECT_LT(manifold_scores(real, normal(300, 5, 2) * 10.0).precision.value, 0.2);
  const torch::Tensor few = normal(10, 5, 3).repeat({30, 1}) + normal(300, 5, 4) * 1e-3;
  EXPECT_LT(manifold_scores(real, few).recall.value, 0.05);
  EXPECT_GT(manifold_scores(real, normal(300, 5, 2)).recall.value, 0.7);
}

TEST(Manifold, NearestAreThoseOfAllDistances) {
  const torch::Tensor x = normal(2100, 3, 1);  // more than two blocks
  const Neighbours found = nearest(x, x, 2);
  EXPECT_TRUE(torch::equal(found.indices.select(1, 0), torch::arange(2100)));
  EXPECT_LT((found.distances.select(1, 1) - neighbour_radii(x, 1)).abs().max().item<double>(),
            1e-6);
}

}  // namespace
}  // namespace ddpm::eval
