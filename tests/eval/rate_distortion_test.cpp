#include "tests/eval/gaussian_images.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::eval {
namespace {

// E (x_0 - x0_hat)^2 of an image set over the noise at t, and its variance, in squared levels.
Expected squared_error(const GaussianImages& images, const Schedule& schedule, int64_t t) {
  const double signal = std::sqrt(schedule.alpha_bar(t)), noise2 = 1.0 - schedule.alpha_bar(t);
  const double slope = signal * kVariance / (signal * signal * kVariance + noise2);
  const double b2 = slope * slope * noise2;  // x_0 - x0_hat = a - b eps
  Expected sum;
  double pixels = 0.0;
  for (int64_t i = 0; i < images.size(); ++i) {
    const torch::Tensor image = images.get(i).image.flatten();
    for (int64_t p = 0; p < image.numel(); ++p, ++pixels) {
      const double a = (image[p].item<uint8_t>() / 127.5 - 1.0 - kMean) * (1.0 - slope * signal);
      sum.add({a * a + b2, 2.0 * b2 * b2 + 4.0 * a * a * b2});
    }
  }
  const double levels = 127.5 * 127.5;
  return {levels * sum.mean / pixels, levels * levels * sum.variance / (pixels * pixels)};
}

TEST(RateDistortion, OfGaussianDataIsTheErrorOfTheBestEstimate) {
  const Schedule schedule({.timesteps = 100});
  const Likelihood found = of_gaussian_images(schedule, {.batch = 64});
  for (const int64_t t : {1, 2, 10, 40, 100}) {
    const Expected expected = squared_error(GaussianImages(), schedule, t);
    const Measured distortion = found.terms[static_cast<size_t>(t - 1)].distortion;
    EXPECT_NEAR(distortion.value * distortion.value, expected.mean,
                4.0 * std::sqrt(expected.variance))
        << t;
  }
  // At T next to nothing is known of x_0: the deviation of a pixel. At 1 its noise is 1.3 levels.
  EXPECT_NEAR(found.terms.back().distortion.value, 127.5 * std::sqrt(kVariance), 2.0);
  EXPECT_LT(found.terms.front().distortion.value, 1.3);
}

TEST(RateDistortion, RateIsThePriorAndTheTermsAbove) {
  const Schedule schedule({.timesteps = 100});
  const Likelihood found = of_gaussian_images(schedule, {.batch = 64});
  double rate = found.prior.value;
  for (size_t i = found.terms.size(); i-- > 0;) {
    EXPECT_NEAR(found.terms[i].rate.value, rate, 1e-9);
    rate += found.terms[i].bits.value;
  }
  EXPECT_NEAR(rate, found.total.value, 1e-9);
  EXPECT_NEAR(found.terms.back().rate.error, found.prior.error, 1e-12);
}

// Parts of several t: on the curve of all t, at the part's average rate and distortion.
TEST(RateDistortion, OfFewCallsIsOnTheCurveOfAll) {
  const Schedule schedule({.timesteps = 100});
  const Likelihood all = of_gaussian_images(schedule, {.batch = 64}, 256);
  const Likelihood few = of_gaussian_images(schedule, {.calls = 12, .seed = 4, .batch = 64}, 256);
  for (const LikelihoodTerm& part : few.terms) {
    double rate = 0.0, squares = 0.0;
    for (int64_t t = part.low; t <= part.high; ++t) {
      const LikelihoodTerm& term = all.terms[static_cast<size_t>(t - 1)];
      rate += term.rate.value / static_cast<double>(part.jumps);
      squares += std::pow(term.distortion.value, 2) / static_cast<double>(part.jumps);
    }
    EXPECT_NEAR(part.rate.value, rate, 4.0 * part.rate.error + 1e-12) << part.low;
    EXPECT_NEAR(part.distortion.value, std::sqrt(squares), 4.0 * part.distortion.error) << part.low;
  }
  EXPECT_EQ(draw_rate_distortion(few, "x").size(0), 3);
}

TEST(RateDistortion, ClampsX0UnlessToldOtherwise) {
  const Schedule schedule({.timesteps = 20});
  const GaussianImages images(8);
  const auto denoiser_of = [](const torch::Tensor&, const torch::Tensor&,
                              const torch::Tensor&) -> diffusion::Denoiser {
    return
        [](const torch::Tensor& x_t, const torch::Tensor&) { return torch::full_like(x_t, 1.7); };
  };
  for (const bool clip : {true, false}) {
    LikelihoodOptions options{.precision = nn::Precision::kFp64};
    options.clip = clip;
    const Likelihood found =
        measure_likelihood(denoiser_of, diffusion::Diffusion(schedule, Prediction::kX0), images,
                           all_of(images), options);
    double squares = 0.0;
    for (int64_t i = 0; i < 8; ++i) {
      const torch::Tensor levels = images.get(i).image.to(torch::kDouble);
      const double x0_hat = clip ? 255.0 : 127.5 * 2.7;
      squares += (levels - x0_hat).square().mean().item<double>() / 8.0;
    }
    EXPECT_NEAR(found.terms[6].distortion.value, std::sqrt(squares), 1e-6) << clip;
  }
}

}  // namespace
}  // namespace ddpm::eval
