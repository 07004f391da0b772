#include "ddpm/eval/likelihood.h"

#include "ddpm/base/rng.h"
#include "ddpm/kernels/random.h"
#include "tests/eval/golden.h"

#include <cmath>
#include <numeric>

#include <gtest/gtest.h>
#include <torch/utils.h>

namespace ddpm::eval {
namespace {

using diffusion::Prediction;
using diffusion::Schedule;
using diffusion::Table;

constexpr double kMean = 0.1, kVariance = 0.04;  // of every pixel, in [-1,1]

// What the best network says: E[x_0 | x_t] for pixels of N(mean, variance).
torch::Tensor best_x0(const Schedule& schedule, const torch::Tensor& x_t, const torch::Tensor& t) {
  const torch::Tensor signal = schedule.gather(Table::kSqrtAlphaBar, t, x_t);
  const torch::Tensor noise = schedule.gather(Table::kSqrtOneMinusAlphaBar, t, x_t);
  return kMean + signal * kVariance / (signal.square() * kVariance + noise.square()) *
                     (x_t - signal * kMean);
}

torch::Tensor best_eps(const Schedule& schedule, const torch::Tensor& x_t, const torch::Tensor& t) {
  return (x_t - schedule.gather(Table::kSqrtAlphaBar, t, x_t) * best_x0(schedule, x_t, t)) /
         schedule.gather(Table::kSqrtOneMinusAlphaBar, t, x_t);
}

torch::Tensor normal(torch::IntArrayRef sizes, uint64_t seed) {
  torch::Tensor x = torch::empty(sizes, torch::kDouble);
  kernels::fill_normal_(x, rng_key(seed, Purpose::kTest), torch::arange(sizes[0]));
  return x;
}

// Pixels of N(mean, variance), rounded to the 256 levels.
class GaussianImages final : public data::Dataset {
 public:
  int64_t size() const override { return 64; }
  data::ImageShape shape() const override { return {1, 8, 8}; }
  int64_t class_count() const override { return 0; }
  std::vector<std::string> class_names() const override { return {}; }
  std::string description() const override { return "Gaussian pixels"; }
  data::Example get(int64_t index) const override {
    const torch::Tensor x = normal({1, 8, 8}, 100 + static_cast<uint64_t>(index));
    const torch::Tensor level = (kMean + std::sqrt(kVariance) * x + 1.0) * 127.5;
    return {level.round().clamp(0, 255).to(torch::kByte), -1};
  }
  /// The entropy of a pixel, bits: no model can do better.
  double entropy() const {
    double bits = 0.0;
    for (int level = 0; level < 256; ++level) {
      const auto cdf = [&](double edge) {
        return 0.5 * std::erfc(-(edge / 127.5 - 1.0 - kMean) / std::sqrt(2.0 * kVariance));
      };
      const double p =
          (level == 255 ? 1.0 : cdf(level + 0.5)) - (level == 0 ? 0.0 : cdf(level - 0.5));
      if (p > 1e-300) bits -= p * std::log2(p);
    }
    return bits;
  }
};

std::vector<int64_t> all_of(const data::Dataset& data) {
  std::vector<int64_t> all(data.size());
  std::iota(all.begin(), all.end(), int64_t{0});
  return all;
}

Likelihood of_gaussian_images(const Schedule& schedule, LikelihoodOptions options) {
  const GaussianImages images;
  options.dtype = torch::kDouble;
  options.clip = false;
  const auto denoiser_of = [&](const torch::Tensor&) -> diffusion::Denoiser {
    return [&](const torch::Tensor& x_t, const torch::Tensor& t) {
      return best_eps(schedule, x_t, t);
    };
  };
  return measure_likelihood(denoiser_of, schedule, Prediction::kEpsilon, images, all_of(images),
                            options);
}

TEST(Decoder, IsScipysNormalDistributionInBins) {
  const auto file = golden("decoder");
  const torch::Tensor x0 = file.get("levels").to(torch::kDouble) / 127.5 - 1.0;
  const torch::Tensor sigma = file.get("sigma"), expected = file.get("log_p");
  for (int64_t i = 0; i < sigma.numel(); ++i) {
    const torch::Tensor found =
        decoder_log_likelihood(x0, file.get("mean"), sigma[i].square().log());
    const torch::Tensor scale = expected[i].abs().clamp_min(1e-9);
    EXPECT_LT(((found - expected[i]).abs() / scale).max().item<double>(), 1e-6) << i;
  }
}

TEST(Decoder, ProbabilitiesOfAllLevelsSumToOne) {
  const torch::Tensor x0 = torch::arange(256, torch::kDouble) / 127.5 - 1.0;
  for (const double mean : {-1.3, -0.2, 0.0, 0.999})
    for (const double sigma : {0.001, 0.03, 1.0}) {
      const torch::Tensor p = decoder_log_likelihood(x0, torch::full({}, mean, torch::kDouble),
                                                     torch::full({}, 2 * std::log(sigma)));
      EXPECT_NEAR(p.exp().sum().item<double>(), 1.0, 1e-7)
          << mean << " " << sigma;  // float32 sigma
    }
}

class Terms : public testing::Test {
 protected:
  // The mean of a term over many pixels, nats a pixel, and its standard error.
  Measured term(int64_t t, ModelVariance variance, Prediction prediction = Prediction::kEpsilon,
                const torch::Tensor& second_half = {}) {
    const torch::Tensor x0 = kMean + std::sqrt(kVariance) * normal({4000, 1, 2, 2}, 1);
    const torch::Tensor time = torch::full({4000}, t, torch::kLong);
    const torch::Tensor x_t = forward_.sample(x0, time, normal({4000, 1, 2, 2}, 2));
    torch::Tensor output =
        diffusion::training_target(prediction, schedule_, best_x0(schedule_, x_t, time),
                                   best_eps(schedule_, x_t, time), x_t, time);
    if (second_half.defined()) output = torch::cat({output, second_half.expand_as(output)}, 1);
    const torch::Tensor nats =
        variational_term(forward_, prediction, variance, false, output, x0, x_t, time) / 4.0;
    return {nats.mean().item<double>(), nats.std().item<double>() / std::sqrt(4000.0)};
  }
  Schedule schedule_{{.timesteps = 50}};
  diffusion::ForwardProcess forward_{schedule_};
};

// E KL = (log s - log b + (b + w^2 V) / s - 1) / 2 with s the model's variance, b = beta_tilde, w
// the weight of x_0 in the posterior mean, V = Var(x_0 | x_t).
TEST_F(Terms, AreTheClosedFormOfGaussianData) {
  for (const int64_t t : {2, 7, 25, 50}) {
    for (const ModelVariance variance : {ModelVariance::kSmall, ModelVariance::kLarge}) {
      const double b = schedule_.posterior_variance(t);
      const double s = variance == ModelVariance::kSmall ? b : schedule_.beta(t);
      const double abar = schedule_.alpha_bar(t), w = schedule_.at(Table::kPosteriorMeanX0, t);
      const double v = kVariance * (1 - abar) / (abar * kVariance + 1 - abar);
      const double expected = 0.5 * (std::log(s / b) + (b + w * w * v) / s - 1.0);
      const Measured found = term(t, variance);
      EXPECT_NEAR(found.value, expected, 5.0 * found.error + 1e-12) << t;
    }
  }
}

TEST_F(Terms, DoNotDependOnWhatTheNetworkPredicts) {
  for (const int64_t t : {1, 2, 30}) {
    const double eps = term(t, ModelVariance::kLarge).value;
    for (const Prediction p : {Prediction::kX0, Prediction::kV, Prediction::kMu}) {
      if (t == 1 && p == Prediction::kMu) continue;  // mu is x_0 there, as for kX0
      EXPECT_NEAR(term(t, ModelVariance::kLarge, p).value, eps, 1e-8 * std::abs(eps)) << t;
    }
  }
}

TEST_F(Terms, LearnedVarianceLiesBetweenBetaTildeAndBeta) {
  const auto learned = [&](double v) {
    return term(20, ModelVariance::kLearned, Prediction::kEpsilon,
                torch::full({1}, v, torch::kDouble))
        .value;
  };
  const double small = term(20, ModelVariance::kSmall).value;
  const double large = term(20, ModelVariance::kLarge).value;
  EXPECT_NEAR(learned(-1.0), small, 1e-10);
  EXPECT_NEAR(learned(1.0), large, 1e-10);
  EXPECT_NE(learned(0.0), small);
}

TEST(Likelihood, OfGaussianDataIsItsEntropyPlusTheGapOfTheSteps) {
  const Schedule schedule({.timesteps = 400});
  const Likelihood found = of_gaussian_images(schedule, {.batch = 64});
  const double entropy = GaussianImages().entropy();
  EXPECT_EQ(found.terms.size(), 400u);
  // A bound: above the entropy, but for the luck of these 64 images.
  EXPECT_GT(found.total.value, entropy - 4.0 * found.total.error);
  // What is lost by beta_tilde as the variance of the steps, in closed form; a tenth of a bit
  // covers what L_0 loses.
  double gap = 0.0;
  for (int64_t t = 2; t <= 400; ++t) {
    const double b = schedule.posterior_variance(t), w = schedule.at(Table::kPosteriorMeanX0, t);
    const double abar = schedule.alpha_bar(t);
    const double v = kVariance * (1 - abar) / (abar * kVariance + 1 - abar);
    // The step's true reverse variance is b + w^2 v; information is lost by taking b instead.
    gap += 0.5 * (w * w * v / b - std::log1p(w * w * v / b)) / std::log(2.0);
  }
  EXPECT_NEAR(found.total.value, entropy + gap, 0.1 + 4.0 * found.total.error);
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

TEST(Likelihood, PriorIsTheDivergenceOfTwoNormals) {
  const Schedule schedule({.timesteps = 10});  // far from noise
  const double a = schedule.alpha_bar(10), x = 0.7;
  const double expected = 0.5 * (a * x * x + (1 - a) - 1 - std::log(1 - a));
  EXPECT_NEAR(
      prior_divergence(schedule, torch::full({1, 1, 3, 1}, x, torch::kDouble)).item<double>(),
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
