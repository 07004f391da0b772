#include "ddpm/nn/blocks.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::nn {
namespace {

const torch::Tensor kTimes = torch::tensor({int64_t{0}, int64_t{1}, int64_t{500}, int64_t{999}});

// Frequency k of half: 10000^(-k / (half - shift)).
double frequency(int64_t k, int64_t half, double shift) {
  return std::pow(10000.0, -static_cast<double>(k) / (static_cast<double>(half) - shift));
}

void expect_closed_form(int64_t dim, const SinusoidConfig& config) {
  const torch::Tensor e = sinusoidal_embedding(kTimes, dim, config);
  ASSERT_EQ(e.sizes(), (std::vector<int64_t>{4, dim}));
  EXPECT_EQ(e.scalar_type(), torch::kFloat);
  const int64_t half = dim / 2;
  for (int64_t b = 0; b < 4; ++b) {
    const auto t = static_cast<double>(kTimes[b].item<int64_t>());
    for (int64_t k = 0; k < half; ++k) {
      const double angle = t * frequency(k, half, config.freq_shift);
      const auto sine = e[b][config.cosine_first ? half + k : k].item<double>();
      const auto cosine = e[b][config.cosine_first ? k : half + k].item<double>();
      // Float32: the frequency's exponent (up to 9.2) and the angle carry a few roundings of 2^-24
      // each, relative to the angle.
      const double tolerance = 1e-6 + 12 * angle * std::ldexp(1.0, -24);
      EXPECT_NEAR(sine, std::sin(angle), tolerance) << "t " << t << " k " << k;
      EXPECT_NEAR(cosine, std::cos(angle), tolerance) << "t " << t << " k " << k;
    }
  }
}

TEST(SinusoidalEmbedding, IsHosClosedForm) { expect_closed_form(128, {}); }

TEST(SinusoidalEmbedding, IsDiffusersClosedForm) {
  expect_closed_form(128, {.cosine_first = true, .freq_shift = 0.0});
}

TEST(SinusoidalEmbedding, ReachesFrequencies1And1e4) {
  const torch::Tensor e = sinusoidal_embedding(torch::tensor({int64_t{1}}), 64, {})[0];
  EXPECT_NEAR(e[0].item<double>(), std::sin(1.0), 1e-6);
  EXPECT_NEAR(e[31].item<double>(), 1e-4, 1e-9);  // with shift 1 the last is exactly 1/10000
}

TEST(SinusoidalEmbedding, EndsInAZeroWhereTheWidthIsOdd) {
  const torch::Tensor odd = sinusoidal_embedding(kTimes, 9, {});
  EXPECT_TRUE(odd.slice(1, 0, 8).equal(sinusoidal_embedding(kTimes, 8, {})));
  EXPECT_TRUE(odd.select(1, 8).equal(torch::zeros({4})));
}

TEST(SinusoidalEmbedding, TellsAllThousandStepsApart) {
  const torch::Tensor e = sinusoidal_embedding(torch::arange(1000), 128, {});
  const torch::Tensor distance =
      torch::cdist(e, e, 2.0, /*compute_mode=*/2) + 10.0 * torch::eye(1000);
  EXPECT_GT(distance.min().item<double>(), 0.1);
}

TEST(TimeEmbedding, FollowsTheParametersType) {
  TimeEmbedding embedding(8, 32, SinusoidConfig{});
  EXPECT_EQ(embedding(kTimes).scalar_type(), torch::kFloat);
  EXPECT_EQ(embedding(kTimes).sizes(), (std::vector<int64_t>{4, 32}));
  embedding->to(torch::kDouble);
  EXPECT_EQ(embedding(kTimes).scalar_type(), torch::kDouble);
}

}  // namespace
}  // namespace ddpm::nn
