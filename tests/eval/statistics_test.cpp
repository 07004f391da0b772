#include "ddpm/eval/frechet.h"
#include "ddpm/eval/manifold.h"
#include "ddpm/kernels/elementwise.h"
#include "src/eval/inception_score.h"
#include "src/eval/kernel_distance.h"
#include "tests/base/test_purpose.h"
#include "tests/eval/golden.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/utils.h>

namespace ddpm::eval::statistics_test {
namespace {

constexpr double kRelative = 1e-6;  // against scipy and numpy, in another order of arithmetic

Gaussian gaussian_of(const torch::Tensor& x) {
  Moments m;
  m.add(x);
  return m.gaussian();
}

torch::Tensor normal(int64_t rows, int64_t columns, uint64_t seed) {
  torch::Tensor x = torch::empty({rows, columns}, torch::kDouble);
  kernels::fill_normal_(x, rng_key(seed, kTestPurpose), torch::arange(rows));
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

// Rows that are not of group g.
torch::Tensor without_group(const torch::Tensor& x, const torch::Tensor& groups, int64_t g) {
  return x.index_select(0, (groups != g).nonzero().squeeze(1));
}

// The jackknife's error by leaving out the rows themselves: value(rows) for each group.
template <class Value>
double error_by_removal(const torch::Tensor& x, const torch::Tensor& groups, int64_t count,
                        Value value) {
  std::vector<double> without;
  for (int64_t g = 0; g < count; ++g) without.push_back(value(without_group(x, groups, g)));
  return jackknife_error(value(x), without, group_sizes(groups, count));
}

TEST(Frechet, ErrorLeavesOutAGroupAtATime) {
  const FrechetDistance distance(gaussian_of(normal(500, 6, 11)));
  for (const int64_t rows : {200, 9}) {  // more and fewer than the groups leave room for
    const torch::Tensor y = normal(rows, 6, 3) * 1.3 + 0.2;
    const Measured m = distance.to(groups_of(y, 8));
    const double expected =
        error_by_removal(y, torch::arange(rows) % 8, 8,
                         [&](const torch::Tensor& some) { return distance.to(gaussian_of(some)); });
    EXPECT_NEAR(m.error, expected, 1e-6 * expected) << rows;
  }
  EXPECT_TRUE(std::isnan(distance.to(groups_of(normal(2, 6, 4), 2)).error)) << "one is no set";
}

TEST(Kernel, IsTheUnbiasedEstimateByTheDefinition) {
  const auto file = golden("statistics");
  const double expected = number(file, "kernel");
  EXPECT_NEAR(kernel_distance(file.get("x"), file.get("y")), expected, kRelative * expected);
}

TEST(Kernel, SubsetsAgreeWithTheWholeAndRepeat) {
  const auto file = golden("statistics");
  const torch::Tensor x = file.get("x"), y = file.get("y");
  const SampleGroups groups = make_groups(y.size(0));
  const KernelOptions options{.subsets = 200, .subset_size = 100, .seed = 5};
  const Measured a = kernel_distance(x, y, groups, options);
  EXPECT_EQ(a.value, kernel_distance(x, y, groups, options).value);
  // The error is that of other samples; over subsets of these the mean moves less.
  EXPECT_NEAR(a.value, number(file, "kernel"), a.error);
}

// Subsets as large as the sets are the sets; other samples would still give another number.
TEST(Kernel, ErrorLeavesOutAGroupAtATime) {
  const auto file = golden("statistics");
  const torch::Tensor x = file.get("x").slice(0, 0, 150), y = file.get("y").slice(0, 0, 150);
  const SampleGroups groups = make_groups(150);
  const Measured m = kernel_distance(x, y, groups, {.subsets = 3, .subset_size = 1000});
  EXPECT_NEAR(m.value, kernel_distance(x, y), 1e-9 * m.value);
  const double expected =
      error_by_removal(y, groups.ids(), groups.count,
                       [&](const torch::Tensor& some) { return kernel_distance(x, some); });
  EXPECT_GT(expected, 0.0);
  EXPECT_NEAR(m.error, expected, 1e-6 * expected);
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
  const torch::Tensor logits = file.get("logits");
  const Measured score =
      inception_score(logits, torch::zeros({logits.size(0)}, torch::kLong), 1, 4);
  EXPECT_NEAR(score.value, file.get("score")[0].item<double>(), kRelative * score.value);
}

double plain_score(const torch::Tensor& logits) {
  return inception_score(logits, torch::zeros({logits.size(0)}, torch::kLong), 1, 1).value;
}

TEST(Score, ErrorLeavesOutAGroupAtATime) {
  const torch::Tensor logits = golden("statistics").get("logits");
  const torch::Tensor groups = torch::arange(logits.size(0)) % 7;
  const double expected = error_by_removal(logits, groups, 7, plain_score);
  EXPECT_NEAR(inception_score(logits, groups, 7, 1).error, expected, 1e-9 * expected);
}

TEST(Score, IsOneIfAllAreAlikeAndTheNumberOfClassesIfAllAreSure) {
  EXPECT_NEAR(plain_score(torch::ones({10, 4})), 1.0, 1e-12);
  const torch::Tensor sure = torch::eye(5, torch::kDouble).repeat({4, 1}) * 2000.0;
  EXPECT_NEAR(plain_score(sure), 5.0, 1e-9);
}

ManifoldScores scores_of(const torch::Tensor& real, const torch::Tensor& generated) {
  return manifold_scores(real, generated, torch::arange(generated.size(0)), generated.size(0));
}

TEST(Manifold, IsTheDefinitionPairByPair) {
  const auto file = golden("statistics");
  const torch::Tensor expected = file.get("manifold");
  const ManifoldScores s = scores_of(file.get("x"), file.get("y"));
  const double found[] = {s.precision.value, s.recall.value, s.density.value, s.coverage.value};
  for (int64_t i = 0; i < 4; ++i) EXPECT_NEAR(found[i], expected[i].item<double>(), kRelative) << i;
  const double p = s.precision.value;
  EXPECT_NEAR(s.precision.error, std::sqrt(p * (1 - p) / 169.0), 1e-12);  // of a share of 170
}

// Balls of generated vectors change with those that are left out, so recall must be found anew.
TEST(Manifold, ErrorsLeaveOutAGroupAtATime) {
  const auto file = golden("statistics");
  const torch::Tensor real = file.get("x"), generated = file.get("y");
  using Part = Measured ManifoldScores::*;
  for (const int64_t count : {2, 6, 16, 170}) {
    const torch::Tensor groups = torch::arange(170) * count / 170;
    const ManifoldScores s = manifold_scores(real, generated, groups.to(torch::kLong), count);
    for (const Part part : {Part(&ManifoldScores::precision), Part(&ManifoldScores::recall),
                            Part(&ManifoldScores::density), Part(&ManifoldScores::coverage)}) {
      const double expected = error_by_removal(
          generated, groups.to(torch::kLong), count,
          [&](const torch::Tensor& some) { return (scores_of(real, some).*part).value; });
      const bool halved = part == Part(&ManifoldScores::coverage);  // its variance
      EXPECT_NEAR((s.*part).error, halved ? expected / std::sqrt(2.0) : expected,
                  1e-9 + 1e-6 * expected)
          << count;
    }
  }
}

// Nearest neighbours that are all of one group: the k-th of another is far down the list.
TEST(Manifold, ErrorsHoldIfWholeClustersAreLeftOut) {
  const torch::Tensor clusters = normal(4, 3, 9).repeat_interleave(60, 0);
  const torch::Tensor generated = clusters * 20.0 + normal(240, 3, 10);
  const torch::Tensor real = generated + 0.5 * normal(240, 3, 11);
  const torch::Tensor groups = torch::arange(4).repeat_interleave(60);
  for (int64_t c = 0; c < 4; ++c) groups[60 * c] = (c + 1) % 4;  // whose neighbours are all of c
  const double expected = error_by_removal(generated, groups, 4, [&](const torch::Tensor& some) {
    return scores_of(real, some).recall.value;
  });
  EXPECT_GT(expected, 1e-3);
  EXPECT_NEAR(manifold_scores(real, generated, groups, 4).recall.error, expected, 1e-9);
}

TEST(Manifold, LosesPrecisionToNoiseAndRecallToRepetition) {
  const torch::Tensor real = normal(300, 5, 1);
  EXPECT_LT(scores_of(real, normal(300, 5, 2) * 10.0).precision.value, 0.2);
  const torch::Tensor few = normal(10, 5, 3).repeat({30, 1}) + normal(300, 5, 4) * 1e-3;
  EXPECT_LT(scores_of(real, few).recall.value, 0.05);
  EXPECT_GT(scores_of(real, normal(300, 5, 2)).recall.value, 0.7);
}

TEST(Manifold, NearestAreThoseOfAllDistances) {
  const torch::Tensor x = normal(2100, 3, 1);  // more than two blocks
  const Neighbours found = nearest(x, x, 2);
  EXPECT_TRUE(torch::equal(found.indices.select(1, 0), torch::arange(2100)));
  EXPECT_EQ(found.distances.select(1, 0).abs().max().item<double>(), 0.0);
  EXPECT_LT((found.distances.select(1, 1) - neighbour_radii(x, 1)).abs().max().item<double>(),
            1e-6);
  const Neighbours others = nearest_others(x, torch::arange(2100), 1);
  EXPECT_TRUE(torch::equal(others.indices.select(1, 0), found.indices.select(1, 1)));
}

Measured authenticity_of(const torch::Tensor& real, const torch::Tensor& generated) {
  return authenticity(real, generated, torch::arange(generated.size(0)), generated.size(0));
}

// All of a large set is searched: a copy of its last image is found.
TEST(Manifold, AuthenticityFindsCopiesOfAnyImage) {
  const torch::Tensor real = normal(60000, 2, 1).to(torch::kFloat);
  std::vector<int64_t> copied{0, 16383, 16384, 49999, 50000, 50001, 59999};
  const torch::Tensor rows = torch::tensor(copied, torch::kLong);
  EXPECT_EQ(authenticity_of(real, real.index_select(0, rows)).value, 0.0);
  EXPECT_TRUE(torch::equal(nearest(real.index_select(0, rows), real, 1).indices.squeeze(1), rows));
  EXPECT_GT(authenticity_of(real, normal(50, 2, 2).to(torch::kFloat)).value, 0.1);
}

// Every real image twice, far from 0, where a squared distance by products loses its digits.
TEST(Manifold, AuthenticityKnowsCopiesOfWhatIsThereTwice) {
  const torch::Tensor once = normal(50, 20, 3) + 1e3;
  EXPECT_EQ(authenticity_of(once.repeat({2, 1}), once).value, 0.0);
}

}  // namespace
}  // namespace ddpm::eval::statistics_test
