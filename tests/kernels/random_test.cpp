#include "ddpm/kernels/elementwise.h"
#include "tests/base/test_purpose.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>
#include <torch/cuda.h>
#include <torch/types.h>

namespace ddpm::kernels::random_test {
namespace {

const RngKey kKey = rng_key(2020, kTestPurpose);

torch::Tensor normal(at::IntArrayRef shape, RngKey key = kKey, int64_t first_id = 0,
                     uint32_t step = 0, torch::ScalarType dtype = torch::kFloat) {
  torch::Tensor out = torch::empty(shape, dtype);
  fill_normal_(out, key, torch::arange(first_id, first_id + shape[0]), step);
  return out;
}

double correlation(const torch::Tensor& a, const torch::Tensor& b) {
  const torch::Tensor x = a.flatten().to(torch::kDouble), y = b.flatten().to(torch::kDouble);
  return ((x - x.mean()) * (y - y.mean())).mean().item<double>() /
         (x.std() * y.std()).item<double>();
}

// Five standard errors of the correlation of n independent pairs.
double correlation_bound(int64_t n) { return 5.0 / std::sqrt(static_cast<double>(n)); }

// The largest distance between the empirical distribution and N(0,1), times sqrt(n).
double kolmogorov_smirnov(const torch::Tensor& samples) {
  const torch::Tensor sorted = std::get<0>(samples.flatten().to(torch::kDouble).sort());
  const torch::Tensor cdf = 0.5 * torch::erfc(-sorted / std::sqrt(2.0));
  const auto n = static_cast<double>(sorted.numel());
  const torch::Tensor below = torch::arange(sorted.numel(), torch::kDouble) / n;
  const double up = (below + 1.0 / n - cdf).max().item<double>();
  const double down = (cdf - below).max().item<double>();
  return std::sqrt(n) * std::max(up, down);
}

double chi_square(const torch::Tensor& draws, int64_t low, int64_t high) {
  const torch::Tensor count = torch::bincount(draws - low, {}, high - low + 1).to(torch::kDouble);
  const double expected = static_cast<double>(draws.numel()) / static_cast<double>(count.numel());
  return ((count - expected).square() / expected).sum().item<double>();
}

// --- fill_normal_ ---

TEST(FillNormal, HasTheMomentsOfANormal) {
  const torch::Tensor z = normal({64, 3, 64, 64}).to(torch::kDouble);
  const auto n = static_cast<double>(z.numel());
  // Moments 0, 1, 0, 3 with variances 1, 2, 15, 96 over n; five standard errors.
  EXPECT_NEAR(z.mean().item<double>(), 0, 5 * std::sqrt(1 / n));
  EXPECT_NEAR(z.square().mean().item<double>(), 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(z.pow(3).mean().item<double>(), 0, 5 * std::sqrt(15 / n));
  EXPECT_NEAR(z.pow(4).mean().item<double>(), 3, 5 * std::sqrt(96 / n));
}

TEST(FillNormal, PassesKolmogorovAndSmirnov) {
  // Kolmogorov's distribution: above 2.23 with probability 1e-4.
  EXPECT_LT(kolmogorov_smirnov(normal({64, 3, 64, 64})), 2.23);
  EXPECT_LT(kolmogorov_smirnov(normal({100000, 1})), 2.23);  // one number a row
  std::vector<torch::Tensor> steps;
  for (uint32_t step = 0; step < 1000; ++step) steps.push_back(normal({25, 4}, kKey, 0, step));
  EXPECT_LT(kolmogorov_smirnov(torch::stack(steps)), 2.23);
}

TEST(FillNormal, ReachesBothTails) {
  const torch::Tensor z = normal({64, 3, 64, 64});
  // Among 786,432 numbers 45 lie beyond 4 on the average (+- 6.7).
  EXPECT_NEAR((z.abs() > 4.0).sum().item<double>(), 786432 * 6.334e-5, 5 * 7.06);
  EXPECT_LT(z.abs().max().item<double>(), 5.78);  // 23 bits: sqrt(-2 ln 2^-24)
}

TEST(FillNormal, ElementsOfARowAreUncorrelated) {
  const torch::Tensor z = normal({256, 4096});
  for (const int64_t lag : {1, 2, 3, 4, 64, 1024}) {
    const torch::Tensor a = z.slice(1, 0, 4096 - lag), b = z.slice(1, lag);
    EXPECT_LT(std::abs(correlation(a, b)), correlation_bound(a.numel())) << lag;
    EXPECT_LT(std::abs(correlation(a.square(), b.square())), correlation_bound(a.numel())) << lag;
  }
}

TEST(FillNormal, StreamsAreUncorrelated) {
  const auto unrelated = [](const torch::Tensor& a, const torch::Tensor& b) {
    EXPECT_LT(std::abs(correlation(a, b)), correlation_bound(a.numel()));
    EXPECT_LT((a == b).to(torch::kDouble).mean().item<double>(), 1e-3);
  };
  const std::vector<int64_t> shape{16, 4096};
  const torch::Tensor z = normal(shape);
  unrelated(z, normal(shape, kKey, 0, 1));                              // the next step
  unrelated(z, normal(shape, kKey, 1));                                 // the next ids
  unrelated(z, normal(shape, kKey, int64_t{1} << 32));                  // ids above 32 bits
  unrelated(z, normal(shape, rng_key(2021, kTestPurpose)));             // the next seed
  unrelated(z, normal(shape, rng_key(2020, Purpose::kTrainingNoise)));  // another purpose
}

TEST(FillNormal, IsAFunctionOfItsArguments) {
  EXPECT_TRUE(normal({4, 3, 5, 7}).equal(normal({4, 3, 5, 7})));
}

TEST(FillNormal, RowsDoNotDependOnTheBatch) {
  const torch::Tensor whole = normal({8, 3, 5, 7}, kKey, 100, 9);
  for (int64_t b = 0; b < 8; ++b)
    EXPECT_TRUE(whole[b].equal(normal({1, 3, 5, 7}, kKey, 100 + b, 9)[0]));
  torch::Tensor shuffled = torch::empty({3, 3, 5, 7});
  fill_normal_(shuffled, kKey, torch::tensor({int64_t{105}, int64_t{100}, int64_t{105}}), 9);
  EXPECT_TRUE(shuffled[0].equal(whole[5]));
  EXPECT_TRUE(shuffled[1].equal(whole[0]));
  EXPECT_TRUE(shuffled[2].equal(whole[5]));
}

TEST(FillNormal, DoesNotDependOnTheNumberOfThreads) {
  const int threads = at::get_num_threads();
  const torch::Tensor one = normal({64, 1000});
  at::set_num_threads(4);
  const torch::Tensor four = normal({64, 1000});
  at::set_num_threads(threads);
  EXPECT_TRUE(one.equal(four));
}

TEST(FillNormal, RowsOfAnySizeBeginAlike) {
  const torch::Tensor longest = normal({3, 16});
  for (int64_t size = 1; size < 16; ++size)
    EXPECT_TRUE(normal({3, size}).equal(longest.slice(1, 0, size))) << size;
  EXPECT_TRUE(normal({3}).equal(longest.select(1, 0)));
}

TEST(FillNormal, FollowsPhiloxAndBoxMuller) {
  torch::Tensor out = torch::empty({1, 6});
  fill_normal_(out, kKey, torch::tensor({int64_t{77}}), 5);
  for (uint32_t block = 0; block < 2; ++block) {
    const Words words = philox(kKey, 77, 5, block);
    float z[4];
    box_muller(words.w[0], words.w[1], &z[0], &z[1]);
    box_muller(words.w[2], words.w[3], &z[2], &z[3]);
    for (int64_t k = 0; k < 4 && block * 4 + k < 6; ++k)
      EXPECT_EQ(out[0][block * 4 + k].item<float>(), z[k]);
  }
}

TEST(FillNormal, HoldsTheSameNumbersInEveryMemoryFormat) {
  const torch::Tensor plain = normal({4, 3, 6, 5});
  torch::Tensor last = torch::empty({4, 3, 6, 5}, at::MemoryFormat::ChannelsLast);
  fill_normal_(last, kKey, torch::arange(4));
  EXPECT_TRUE(last.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(last.equal(plain));
  torch::Tensor wide = torch::zeros({4, 3, 6, 8});
  torch::Tensor part = wide.slice(3, 1, 6);
  fill_normal_(part, kKey, torch::arange(4));
  EXPECT_TRUE(part.equal(plain));
  EXPECT_EQ(wide.select(3, 0).abs().max().item<float>(), 0.0f);  // nothing beside it is touched
  EXPECT_EQ(wide.slice(3, 6).abs().max().item<float>(), 0.0f);
}

TEST(FillNormal, RoundsTheSameNumbersToEveryType) {
  const torch::Tensor single = normal({4, 3, 6, 5});
  for (const auto dtype : {torch::kDouble, torch::kBFloat16, torch::kHalf}) {
    const torch::Tensor other = normal({4, 3, 6, 5}, kKey, 0, 0, dtype);
    EXPECT_EQ(other.scalar_type(), dtype);
    EXPECT_TRUE(other.equal(single.to(dtype)));
  }
}

TEST(FillNormal, TakesIdsThatAreAView) {
  const torch::Tensor ids = torch::arange(8).slice(0, 0, 8, 2);  // 0 2 4 6
  torch::Tensor out = torch::empty({4, 5});
  fill_normal_(out, kKey, ids);
  EXPECT_TRUE(out.equal(normal({8, 5}).slice(0, 0, 8, 2)));
}

TEST(FillNormal, FillsAnEmptyBatch) {
  torch::Tensor out = torch::empty({0, 3});
  EXPECT_NO_THROW(fill_normal_(out, kKey, torch::arange(0)));
}

TEST(FillNormal, RefusesIdsOfAnotherCount) {
  torch::Tensor out = torch::empty({4, 3});
  EXPECT_THROW(fill_normal_(out, kKey, torch::arange(3)), c10::Error);
}

// --- fill_uniform_int_ ---

torch::Tensor integers(int64_t count, int64_t low, int64_t high, RngKey key = kKey) {
  torch::Tensor out = torch::empty({count}, torch::kLong);
  fill_uniform_int_(out, key, torch::arange(count), low, high);
  return out;
}

TEST(FillUniformInt, TakesEveryValueEquallyOften) {
  for (const auto& [low, high] : {std::pair<int64_t, int64_t>{1, 1000}, {-3, 3}, {0, 1}}) {
    const torch::Tensor t = integers(200000, low, high);
    EXPECT_EQ(t.min().item<int64_t>(), low);
    EXPECT_EQ(t.max().item<int64_t>(), high);
    const auto freedom = static_cast<double>(high - low);
    // Mean `freedom`, variance twice that; five standard deviations (skewed, so a little more).
    EXPECT_LT(chi_square(t, low, high), freedom + 6 * std::sqrt(2 * freedom) + 10);
  }
}

TEST(FillUniformInt, IsAsUnevenAsChance) {
  EXPECT_GT(chi_square(integers(200000, 1, 1000), 1, 1000), 999 - 5 * std::sqrt(2 * 999.0));
}

TEST(FillUniformInt, NeighboursAreUncorrelated) {
  const torch::Tensor t = integers(200000, 1, 1000);
  const torch::Tensor a = t.slice(0, 0, 199999), b = t.slice(0, 1);
  EXPECT_LT(std::abs(correlation(a, b)), correlation_bound(a.numel()));
}

TEST(FillUniformInt, DoesNotDependOnTheBatch) {
  const torch::Tensor whole = integers(10, 1, 1000);
  torch::Tensor part = torch::empty({3}, torch::kLong);
  fill_uniform_int_(part, kKey, torch::tensor({int64_t{7}, int64_t{0}, int64_t{7}}), 1, 1000);
  EXPECT_TRUE(part.equal(whole.index({torch::tensor({int64_t{7}, int64_t{0}, int64_t{7}})})));
  EXPECT_FALSE(whole.equal(integers(10, 1, 1000, rng_key(2021, kTestPurpose))));
}

TEST(FillUniformInt, HasOneValueInARangeOfOne) {
  EXPECT_TRUE(integers(5, 42, 42).equal(torch::full({5}, 42, torch::kLong)));
}

TEST(FillUniformInt, RefusesAnEmptyRangeAndOtherTypes) {
  torch::Tensor out = torch::empty({5}, torch::kLong);
  EXPECT_THROW(fill_uniform_int_(out, kKey, torch::arange(5), 2, 1), c10::Error);
  EXPECT_THROW(fill_uniform_int_(out, kKey, torch::arange(4), 1, 2), c10::Error);
  EXPECT_THROW(fill_uniform_int_(torch::empty({5}), kKey, torch::arange(5), 1, 2), c10::Error);
}

// --- fill_uniform_ ---

TEST(FillUniform, HasTheMomentsAndBoundsOfAUniform) {
  torch::Tensor u = torch::empty({100, 1001}, torch::kDouble);
  fill_uniform_(u, kKey, 3, 0.5);
  const auto n = static_cast<double>(u.numel());
  EXPECT_LT(u.abs().max().item<double>(), 0.5);
  EXPECT_GT(u.abs().max().item<double>(), 0.5 * (1 - 20 / n));
  // Variance bound^2 / 3; five standard errors, that of the variance being sqrt(0.8 / n) of it.
  const double variance = 0.25 / 3;
  EXPECT_NEAR(u.mean().item<double>(), 0, 5 * std::sqrt(variance / n));
  EXPECT_NEAR(u.square().mean().item<double>(), variance, 5 * variance * std::sqrt(0.8 / n));
}

TEST(FillUniform, DependsOnKeyAndIdAlone) {
  const auto draw = [](RngKey key, uint64_t id, int64_t size) {
    torch::Tensor out = torch::empty({size});
    fill_uniform_(out, key, id, 1.0);
    return out;
  };
  EXPECT_TRUE(draw(kKey, 1, 9).equal(draw(kKey, 1, 9)));
  EXPECT_TRUE(draw(kKey, 1, 9).equal(draw(kKey, 1, 12).slice(0, 0, 9)));
  EXPECT_FALSE(draw(kKey, 1, 9).equal(draw(kKey, 2, 9)));
  EXPECT_FALSE(draw(kKey, 1, 9).equal(draw(rng_key(1, kTestPurpose), 1, 9)));
}

// --- CUDA: the CPU's numbers, to float rounding ---

class RandomGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device on this machine";
  }
};

// 2 pi v is rounded to 2^-22, times a radius below 6, and the device's sin and log have their own
// last bits.
constexpr double kDeviceRounding = 6e-6;

TEST_F(RandomGpu, NormalsEqualTheCpus) {
  for (const int64_t size : {1, 3, 4, 7, 3072}) {
    const torch::Tensor ids = torch::arange(1000, 1033);
    torch::Tensor host = torch::empty({33, size});
    torch::Tensor device = torch::empty({33, size}, torch::kCUDA);
    fill_normal_(host, kKey, ids, 17);
    fill_normal_(device, kKey, ids.cuda(), 17);
    EXPECT_LT((device.cpu() - host).abs().max().item<double>(), kDeviceRounding) << size;
  }
}

TEST_F(RandomGpu, NormalsEqualTheCpusInEveryFormatAndType) {
  const torch::Tensor host = normal({4, 3, 6, 5});
  const torch::Tensor ids = torch::arange(4, torch::kCUDA);
  torch::Tensor last =
      torch::empty({4, 3, 6, 5}, torch::kCUDA).contiguous(at::MemoryFormat::ChannelsLast);
  fill_normal_(last, kKey, ids);
  EXPECT_TRUE(last.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_LT((last.cpu() - host).abs().max().item<double>(), kDeviceRounding);
  torch::Tensor half =
      torch::empty({4, 3, 6, 5}, torch::dtype(torch::kBFloat16).device(torch::kCUDA));
  fill_normal_(half, kKey, ids);
  EXPECT_TRUE(half.cpu().to(torch::kFloat).allclose(host, /*rtol=*/1.0 / 128, kDeviceRounding));
}

TEST_F(RandomGpu, IntegersEqualTheCpus) {
  torch::Tensor device = torch::empty({10000}, torch::dtype(torch::kLong).device(torch::kCUDA));
  fill_uniform_int_(device, kKey, torch::arange(10000, torch::kCUDA), 1, 1000);
  EXPECT_TRUE(device.cpu().equal(integers(10000, 1, 1000)));
}

}  // namespace
}  // namespace ddpm::kernels::random_test
