#include "ddpm/eval/likelihood.h"

#include "ddpm/base/rng.h"
#include "ddpm/kernels/elementwise.h"
#include "tests/eval/gaussian_images.h"
#include "tests/eval/golden.h"

#include <cmath>
#include <limits>
#include <numeric>

#include <ATen/Context.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

namespace ddpm::eval {
namespace {

// L_{t-1} of a pixel: w^2 (a - b eps)^2 / (2 beta_tilde), with x0 - x0_hat = a - b eps.
Expected step_term(const Schedule& schedule, double x0, int64_t t) {
  const double s = std::sqrt(schedule.alpha_bar(t)), n = std::sqrt(1.0 - schedule.alpha_bar(t));
  const double slope = s * kVariance / (s * s * kVariance + n * n);
  const double a = (x0 - kMean) * (1.0 - slope * s), b = slope * n;
  const double w = schedule.at(Table::kPosteriorMeanX0, t);
  const double scale = w * w / (2.0 * schedule.posterior_variance(t));
  return {scale * (a * a + b * b), scale * scale * (2.0 * std::pow(b, 4) + 4.0 * a * a * b * b)};
}

// The bound of an image set, bits per dimension, with L_0's variance: all of Ho 2020, Eq. 5.
Expected bound_of(const GaussianImages& images, const Schedule& schedule, double variance) {
  const int64_t last = schedule.timesteps();
  std::vector<Expected> of_level;
  for (int level = 0; level < 256; ++level) {
    const double x0 = level / 127.5 - 1.0, abar = schedule.alpha_bar(last);
    Expected bits = decoder_term(schedule, 1, level, variance);
    bits.add({0.5 * (abar * x0 * x0 - abar - std::log(1.0 - abar)), 0.0});
    for (int64_t t = 2; t <= last; ++t) bits.add(step_term(schedule, x0, t));
    of_level.push_back(bits);
  }
  Expected sum;
  double pixels = 0.0;
  for (int64_t i = 0; i < images.size(); ++i) {
    const torch::Tensor image = images.get(i).image.flatten();
    for (int64_t p = 0; p < image.numel(); ++p, ++pixels)
      sum.add(of_level[image[p].item<uint8_t>()]);
  }
  const double bits = 1.0 / (pixels * std::log(2.0));
  return {sum.mean * bits, sum.variance * bits * bits};
}

// The noise has its law: 4 deviations of it, 0.12 bit, around what is expected of it.
TEST(Likelihood, OfGaussianDataIsWhatIsExpectedInClosedForm) {
  const Schedule schedule({.timesteps = 100});
  const Expected expected = bound_of(GaussianImages(256), schedule, schedule.posterior_variance(2));
  const Likelihood found = of_gaussian_images(schedule, {.batch = 64}, 256);
  EXPECT_NEAR(found.total.value, expected.mean, 4.0 * std::sqrt(expected.variance));
}

// The same terms for the very noise that is used: to rounding, so that no other variance of the
// decoder or of a step passes.
TEST(Likelihood, OfGaussianDataIsTheBoundTermByTerm) {
  const Schedule schedule({.timesteps = 100});
  const GaussianImages images;
  const Likelihood found = of_gaussian_images(schedule, {.seed = 7, .batch = 20});
  EXPECT_TRUE(found.every_t);
  ASSERT_EQ(found.terms.size(), 100u);
  torch::Tensor eps = torch::empty({images.size(), 1, 8, 8}, torch::kDouble);
  const auto term_of = [&](int64_t t, double decoder_variance) {
    kernels::fill_normal_(eps, rng_key(7, Purpose::kLikelihoodNoise), torch::arange(images.size()),
                          static_cast<uint32_t>(t - 1));
    const double s = std::sqrt(schedule.alpha_bar(t)), n = std::sqrt(1.0 - schedule.alpha_bar(t));
    const double slope = s * kVariance / (s * s * kVariance + n * n);
    const double w = schedule.at(Table::kPosteriorMeanX0, t), infinity = HUGE_VAL;
    double nats = 0.0;
    for (int64_t i = 0; i < images.size(); ++i) {
      const torch::Tensor levels = images.get(i).image.flatten(), noise = eps[i].flatten();
      for (int64_t p = 0; p < levels.numel(); ++p) {
        const int level = levels[p].item<uint8_t>();
        const double x0 = level / 127.5 - 1.0;
        const double off = (x0 - kMean) * (1.0 - slope * s) - slope * n * noise[p].item<double>();
        const double sigma = std::sqrt(decoder_variance);
        nats += t > 1 ? w * w * off * off / (2.0 * schedule.posterior_variance(t))
                      : -log_mass(level == 0 ? -infinity : (off - 1.0 / 255) / sigma,
                                  level == 255 ? infinity : (off + 1.0 / 255) / sigma);
      }
    }
    return nats / (64.0 * static_cast<double>(images.size()) * std::log(2.0));
  };
  double total = found.prior.value;
  for (int64_t t = 1; t <= 100; ++t) {
    const double expected = term_of(t, schedule.posterior_variance(2));
    EXPECT_NEAR(found.terms[t - 1].bits.value, expected, 1e-7 * expected) << t;
    total += expected;
  }
  EXPECT_NEAR(found.total.value, total, 1e-6);
  EXPECT_GT(std::abs(term_of(1, schedule.beta(1)) - found.decoder.value), 1e-3);
}

// The network says 1.7 of every pixel: clamped, that is 1, at every t.
TEST(Likelihood, ClampsX0UnlessToldOtherwise) {
  const Schedule schedule({.timesteps = 20});
  const GaussianImages images(8);
  const auto denoiser_of = [](const torch::Tensor&, const torch::Tensor&,
                              const torch::Tensor&) -> diffusion::Denoiser {
    return
        [](const torch::Tensor& x_t, const torch::Tensor&) { return torch::full_like(x_t, 1.7); };
  };
  const auto measured = [&](bool clip) {
    LikelihoodOptions options{.precision = nn::Precision::kFp64};
    if (!clip) options.clip = false;
    return measure_likelihood(denoiser_of, diffusion::Diffusion(schedule, Prediction::kX0), images,
                              all_of(images), options);
  };
  const auto expected = [&](double x0_hat, int64_t t) {
    double nats = 0.0, pixels = 0.0;
    const double variance = schedule.posterior_variance(std::max<int64_t>(t, 2));
    const double w = schedule.at(Table::kPosteriorMeanX0, t);
    for (int64_t i = 0; i < images.size(); ++i) {
      const torch::Tensor x0 = images.get(i).image.flatten().to(torch::kDouble) / 127.5 - 1.0;
      for (int64_t p = 0; p < x0.numel(); ++p, ++pixels) {
        const double off = x0[p].item<double>() - x0_hat, sigma = std::sqrt(variance);
        nats += t > 1 ? w * w * off * off / (2.0 * variance)
                      : -log_mass((off - 1.0 / 255) / sigma, (off + 1.0 / 255) / sigma);
      }
    }
    return nats / pixels / std::log(2.0);
  };
  const Likelihood clamped = measured(true), as_it_is = measured(false);
  for (int64_t t = 2; t <= 20; ++t) {
    EXPECT_NEAR(clamped.terms[t - 1].bits.value, expected(1.0, t), 1e-9 * expected(1.0, t)) << t;
    EXPECT_NEAR(as_it_is.terms[t - 1].bits.value, expected(1.7, t), 1e-9 * expected(1.7, t)) << t;
  }
  // At t = 1 a pixel far from the mean has no probability left in float64 but for its logarithm.
  EXPECT_TRUE(std::isfinite(clamped.decoder.value));
  EXPECT_LT(clamped.decoder.value, 0.5 * as_it_is.decoder.value);
}

TEST(Likelihood, FewCallsEstimateTheSameBound) {
  const Schedule schedule({.timesteps = 400});
  const Likelihood all = of_gaussian_images(schedule, {.batch = 32});
  const Likelihood few = of_gaussian_images(schedule, {.calls = 40, .seed = 3, .batch = 20});
  ASSERT_EQ(few.terms.size(), 40u);
  int64_t next = 1;
  for (const LikelihoodTerm& term : few.terms) {
    EXPECT_EQ(term.low, next);
    next = term.high + 1;
  }
  EXPECT_EQ(next, 401);
  EXPECT_NEAR(few.total.value, all.total.value, 4.0 * (few.total.error + all.total.error));
  EXPECT_NEAR(few.prior.value, all.prior.value, 1e-12);
}

// The smallest number of calls and some more: on average that of all t.
TEST(Likelihood, IsUnbiasedAtAnyNumberOfCalls) {
  const Schedule schedule({.timesteps = 20});
  const Likelihood all = of_gaussian_images(schedule, {.batch = 64});
  for (const int64_t calls : {2, 3, 7, 19, 20, 1000}) {
    double sum = 0.0, squares = 0.0;
    constexpr int kRuns = 40;
    for (int run = 0; run < kRuns; ++run) {
      const Likelihood few = of_gaussian_images(
          schedule, {.calls = calls, .seed = 10 + static_cast<uint64_t>(run), .batch = 64});
      EXPECT_EQ(few.every_t, calls >= 20);
      sum += few.total.value / kRuns;
      squares += few.total.value * few.total.value / kRuns;
    }
    const double error = std::sqrt((squares - sum * sum) / kRuns);
    EXPECT_NEAR(sum, all.total.value, 4.0 * (error + all.total.error / 8.0)) << calls;
  }
  EXPECT_THROW(of_gaussian_images(schedule, {.calls = 1}), c10::Error)
      << "leaves out all but t = 1";
}

TEST(Likelihood, ItsErrorIsTheSpreadOverOtherTimesAndNoise) {
  const Schedule schedule({.timesteps = 20});
  double sum = 0.0, squares = 0.0, stated = 0.0;
  constexpr int kRuns = 40;
  for (int run = 0; run < kRuns; ++run) {
    const Likelihood found =
        of_gaussian_images(schedule, {.calls = 3, .seed = static_cast<uint64_t>(run), .batch = 64});
    sum += found.total.value / kRuns;
    squares += found.total.value * found.total.value / kRuns;
    stated += found.total.error / kRuns;
  }
  const double spread = std::sqrt(squares - sum * sum);  // for the same images: a little less
  EXPECT_GT(stated / spread, 0.7);
  EXPECT_LT(stated / spread, 1.6);
}

TEST(Likelihood, OfOneImageHasNoError) {
  EXPECT_TRUE(std::isnan(of_gaussian_images(Schedule({.timesteps = 5}), {}, 1).total.error));
}

// What a network sees, and how the process computes while it does.
TEST(Likelihood, SeesOtherNoiseThanTrainingAndComputesAsTold) {
  const Schedule schedule({.timesteps = 6});
  const diffusion::Diffusion diffusion(schedule, Prediction::kX0);
  const GaussianImages images(4);
  const torch::Tensor ids = torch::arange(4);
  std::vector<torch::Tensor> x0;
  for (int64_t i = 0; i < 4; ++i)
    x0.push_back(images.get(i).image.to(torch::kDouble) / 127.5 - 1.0);
  torch::Tensor eps = torch::empty({4, 1, 8, 8}, torch::kDouble);
  kernels::fill_normal_(eps, rng_key(3, Purpose::kTrainingNoise), ids);
  bool tf32 = true;
  const auto denoiser_of = [&](const torch::Tensor&, const torch::Tensor&,
                               const torch::Tensor&) -> diffusion::Denoiser {
    return [&](const torch::Tensor& x_t, const torch::Tensor& t) {
      const torch::Tensor in_training = diffusion.noised(torch::stack(x0), t, eps);
      EXPECT_GT((x_t - in_training).abs().max().item<double>(), 1e-3);
      tf32 = at::globalContext().allowTF32CuDNN() || at::globalContext().allowTF32CuBLAS();
      EXPECT_TRUE(at::globalContext().deterministicCuDNN());
      return torch::zeros_like(x_t);
    };
  };
  const nn::ArithmeticGuard outer(nn::Precision::kTf32, /*deterministic=*/false);
  measure_likelihood(denoiser_of, diffusion, images, all_of(images),
                     {.seed = 3, .precision = nn::Precision::kFp64, .deterministic = true});
  EXPECT_FALSE(tf32);
}

TEST(Likelihood, PriorIsTheDivergenceOfTwoNormals) {
  const Schedule schedule({.timesteps = 10});  // far from noise
  const double a = schedule.alpha_bar(10), x = 0.7;
  const double expected = 0.5 * (a * x * x + (1 - a) - 1 - std::log(1 - a));
  EXPECT_NEAR(
      prior_divergence(schedule, torch::full({1, 1, 3, 1}, x, torch::kDouble), 10).item<double>(),
      3 * expected, 1e-12);
}

TEST(Likelihood, CsvHasALineATerm) {
  const Likelihood found =
      of_gaussian_images(Schedule({.timesteps = 20}), {.calls = 5, .batch = 64});
  const std::string text = to_csv(found);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 6);
  EXPECT_EQ(text.rfind("t_low,t_high,bits_per_dim", 0), 0u);
  EXPECT_EQ(draw_likelihood(found, "x").size(0), 3);
}

}  // namespace
}  // namespace ddpm::eval
