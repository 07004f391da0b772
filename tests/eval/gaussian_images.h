#pragma once

// Data and a network whose bound is known: pixels N(0.1, 0.04), and E[x_0 | x_t] for them.

#include "ddpm/base/rng.h"
#include "ddpm/eval/likelihood.h"
#include "ddpm/kernels/elementwise.h"
#include "tests/base/test_purpose.h"

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

using diffusion::Prediction;
using diffusion::Schedule;
using diffusion::Table;

inline constexpr double kMean = 0.1, kVariance = 0.04;  // of every pixel, in [-1,1]

// What the best network says: E[x_0 | x_t] for pixels of N(mean, variance).
inline torch::Tensor best_x0(const Schedule& schedule, const torch::Tensor& x_t,
                             const torch::Tensor& t) {
  const torch::Tensor signal = schedule.gather(Table::kSqrtAlphaBar, t, x_t);
  const torch::Tensor noise = schedule.gather(Table::kSqrtOneMinusAlphaBar, t, x_t);
  return kMean + signal * kVariance / (signal.square() * kVariance + noise.square()) *
                     (x_t - signal * kMean);
}

inline torch::Tensor best_eps(const Schedule& schedule, const torch::Tensor& x_t,
                              const torch::Tensor& t) {
  return (x_t - schedule.gather(Table::kSqrtAlphaBar, t, x_t) * best_x0(schedule, x_t, t)) /
         schedule.gather(Table::kSqrtOneMinusAlphaBar, t, x_t);
}

inline torch::Tensor normal(torch::IntArrayRef sizes, uint64_t seed) {
  torch::Tensor x = torch::empty(sizes, torch::kDouble);
  kernels::fill_normal_(x, rng_key(seed, kTestPurpose), torch::arange(sizes[0]));
  return x;
}

// Pixels of N(mean, variance), rounded to the 256 levels.
class GaussianImages final : public data::Dataset {
 public:
  explicit GaussianImages(int64_t size = 64) : size_(size) {}
  int64_t size() const override { return size_; }
  data::ImageShape shape() const override { return {1, 8, 8}; }
  int64_t class_count() const override { return 0; }
  std::vector<std::string> class_names() const override { return {}; }
  std::string description() const override { return "Gaussian pixels"; }
  data::Example get(int64_t index) const override {
    const torch::Tensor x = normal({1, 8, 8}, 100 + static_cast<uint64_t>(index));
    const torch::Tensor level = (kMean + std::sqrt(kVariance) * x + 1.0) * 127.5;
    return {level.round().clamp(0, 255).to(torch::kByte), -1};
  }

 private:
  int64_t size_;
};

inline std::vector<int64_t> all_of(const data::Dataset& data) {
  std::vector<int64_t> all(data.size());
  std::iota(all.begin(), all.end(), int64_t{0});
  return all;
}

inline Likelihood of_gaussian_images(const Schedule& schedule, LikelihoodOptions options,
                                     int64_t size = 64) {
  const GaussianImages images(size);
  options.precision = nn::Precision::kFp64;
  options.clip = false;
  const auto denoiser_of = [&](const torch::Tensor&, const torch::Tensor&,
                               const torch::Tensor&) -> diffusion::Denoiser {
    return [&](const torch::Tensor& x_t, const torch::Tensor& t) {
      return best_eps(schedule, x_t, t);
    };
  };
  return measure_likelihood(denoiser_of, diffusion::Diffusion(schedule, Prediction::kEpsilon),
                            images, all_of(images), options);
}

// Mean and variance of a number over the noise, given the image.
struct Expected {
  double mean = 0.0, variance = 0.0;
  void add(const Expected& other) {
    mean += other.mean;
    variance += other.variance;
  }
};

// log(Phi(high) - Phi(low)) from the smaller tails.
inline double log_mass(double low, double high) {
  if (low > 0.0) return log_mass(-high, -low);
  const auto cdf = [](double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); };
  return std::log(cdf(high) - cdf(low));
}

// -log P(x0 | x_t) of a pixel over eps ~ N(0,1), with the best mean and this variance: nats. By the
// trapezoid rule, which is exact to rounding for smooth functions that vanish at both ends.
inline Expected decoder_term(const Schedule& schedule, int64_t t, int level, double variance) {
  const double x0 = level / 127.5 - 1.0, s = std::sqrt(schedule.alpha_bar(t));
  const double n = std::sqrt(1.0 - schedule.alpha_bar(t));
  const double slope = s * kVariance / (s * s * kVariance + n * n), step = 0.01;
  const double infinity = std::numeric_limits<double>::infinity();
  double first = 0.0, second = 0.0;
  for (double eps = -9.0; eps < 9.0; eps += step) {
    const double mean = kMean + slope * (s * x0 + n * eps - s * kMean);
    const double low = level == 0 ? -infinity : (x0 - 1.0 / 255 - mean) / std::sqrt(variance);
    const double high = level == 255 ? infinity : (x0 + 1.0 / 255 - mean) / std::sqrt(variance);
    const double nats = -log_mass(low, high);
    const double weight = step * std::exp(-0.5 * eps * eps) / std::sqrt(2.0 * M_PI);
    first += weight * nats;
    second += weight * nats * nats;
  }
  return {first, second - first * first};
}

}  // namespace ddpm::eval
