// The bound of a chain that visits only some timesteps.

#include "ddpm/base/rng.h"
#include "ddpm/kernels/elementwise.h"
#include "tests/eval/gaussian_images.h"

#include <array>
#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::eval::chain_terms_test {
namespace {

using sample::PlanStep;
using sample::Spacing;

constexpr double kWeight = 0.65;  // of a learned variance
constexpr uint64_t kSeed = 7;

// Var(x_0 | x_t) of Gaussian pixels (docs/math.md, "The best possible network").
double posterior_variance(const Schedule& schedule, int64_t t) {
  const double signal = schedule.alpha_bar(t), noise = 1.0 - signal;
  return kVariance * noise / (signal * kVariance + noise);
}

std::vector<double> posterior_variances(const Schedule& schedule, double factor = 1.0) {
  std::vector<double> all{0.0};
  for (int64_t t = 1; t <= schedule.timesteps(); ++t)
    all.push_back(factor * posterior_variance(schedule, t));
  return all;
}

Likelihood measured(const Schedule& schedule, const LikelihoodOptions& given) {
  LikelihoodOptions options = given;
  options.precision = nn::Precision::kFp64;
  options.clip = false;
  const GaussianImages images;
  const auto denoiser_of = [&](const torch::Tensor&, const torch::Tensor&,
                               const torch::Tensor&) -> diffusion::Denoiser {
    return [&](const torch::Tensor& x_t, const torch::Tensor& t) {
      const torch::Tensor eps = best_eps(schedule, x_t, t);
      if (options.variance != ModelVariance::kLearned) return eps;
      return torch::cat({eps, torch::full_like(eps, 2 * kWeight - 1)}, 1);
    };
  };
  return measure_likelihood(denoiser_of, diffusion::Diffusion(schedule, Prediction::kEpsilon),
                            images, all_of(images), options);
}

LikelihoodOptions with(const Schedule& schedule, ModelVariance variance, int64_t steps,
                       Spacing spacing = Spacing::kLeading) {
  return {.variance = variance,
          .plan = sample::timestep_plan(schedule.timesteps(), steps, spacing),
          .posterior_variance = posterior_variances(schedule),
          .seed = kSeed,
          .batch = 20};
}

// A jump in numbers, from alpha_bar alone: its beta, beta_tilde, x_0's weight in the mean.
struct Law {
  Law(const Schedule& schedule, const PlanStep& step) {
    const double at_t = schedule.alpha_bar(step.t), at_s = schedule.alpha_bar(step.s);
    beta = 1.0 - at_t / at_s;
    small = (1.0 - at_s) / (1.0 - at_t) * beta;
    weight = std::sqrt(at_s) * beta / (1.0 - at_t);
    signal = std::sqrt(at_t);
    noise = std::sqrt(1.0 - at_t);
  }
  // x_0 - E[x_0 | x_t] = constant + factor eps, given x_0.
  double slope() const {
    return signal * kVariance / (signal * signal * kVariance + noise * noise);
  }
  double constant(double x0) const { return (x0 - kMean) * (1.0 - slope() * signal); }
  double factor() const { return -slope() * noise; }

  double beta, small, weight, signal, noise;
};

// The model's variance and the posterior's at a jump that does not end at 0.
double variance_of(ModelVariance kind, const Law& law, double posterior) {
  if (kind == ModelVariance::kSmall) return law.small;
  if (kind == ModelVariance::kLarge) return law.beta;
  if (kind == ModelVariance::kLearned)
    return std::pow(law.beta, kWeight) * std::pow(law.small, 1 - kWeight);
  return law.small + law.weight * law.weight * posterior;
}

// That of the last jump.
double last_variance(ModelVariance kind, const Law& last, const Law& before, double posterior) {
  if (kind == ModelVariance::kAnalytic) return posterior;
  if (kind == ModelVariance::kLearned)
    return std::pow(last.beta, kWeight) * std::pow(before.small, 1 - kWeight);
  return before.small;
}

// KL(q || p) of a pixel whose x_0 is `off` from the estimate.
double divergence(const Law& law, double variance, double off) {
  const double shift = law.weight * off;
  return 0.5 * (std::log(variance / law.small) - 1.0 + (law.small + shift * shift) / variance);
}

// -log P of the last jump, likewise.
double decoder_nats(int level, double off, double sigma) {
  return -log_mass(level == 0 ? -HUGE_VAL : (off - 1.0 / 255) / sigma,
                   level == 255 ? HUGE_VAL : (off + 1.0 / 255) / sigma);
}

class StridedBound : public testing::Test {
 protected:
  // The term of every jump, bits/dim, for the very noise that the measurement uses, by ascending t.
  std::vector<double> expected_terms(const LikelihoodOptions& options) {
    const std::vector<PlanStep> jumps(options.plan.rbegin(), options.plan.rend());
    constexpr int64_t kImages = 64;  // as in GaussianImages
    torch::Tensor eps = torch::empty({kImages, 1, 8, 8}, torch::kDouble);
    const auto* const z = eps.const_data_ptr<double>();
    std::vector<double> terms;
    for (size_t i = 0; i < jumps.size(); ++i) {
      kernels::fill_normal_(eps, rng_key(kSeed, Purpose::kLikelihoodNoise), torch::arange(kImages),
                            static_cast<uint32_t>(i));
      const Law law(schedule_, jumps[i]);
      const double posterior = posterior_variance(schedule_, jumps[i].t);
      const double variance =
          i > 0 ? variance_of(options.variance, law, posterior)
                : last_variance(options.variance, law, Law(schedule_, jumps[1]), posterior);
      double nats = 0.0;
      for (size_t p = 0; p < levels_.size(); ++p) {
        const double off = law.constant(levels_[p] / 127.5 - 1.0) + law.factor() * z[p];
        nats += i > 0 ? divergence(law, variance, off)
                      : decoder_nats(levels_[p], off, std::sqrt(variance));
      }
      terms.push_back(nats / (static_cast<double>(levels_.size()) * std::log(2.0)));
    }
    return terms;
  }

  // Prior and all terms over the noise, bits/dim, with their variance: no noise is drawn.
  Expected expected_bound(const LikelihoodOptions& options) {
    const std::vector<PlanStep> jumps(options.plan.rbegin(), options.plan.rend());
    std::vector<Expected> of_level;
    for (int level = 0; level < 256; ++level) {
      const double x0 = level / 127.5 - 1.0, first = schedule_.alpha_bar(jumps.back().t);
      Expected nats{0.5 * (first * x0 * x0 - first - std::log(1.0 - first)), 0.0};
      const Law last(schedule_, jumps[0]);
      nats.add(decoder_term(schedule_, jumps[0].t, level,
                            last_variance(options.variance, last, Law(schedule_, jumps[1]),
                                          posterior_variance(schedule_, jumps[0].t))));
      for (size_t i = 1; i < jumps.size(); ++i) {
        const Law law(schedule_, jumps[i]);
        const double variance =
            variance_of(options.variance, law, posterior_variance(schedule_, jumps[i].t));
        const double a = law.constant(x0), b = law.factor();
        const double scale = law.weight * law.weight / (2.0 * variance);
        // E (a + b eps)^2 = a^2 + b^2, and its variance
        nats.add({divergence(law, variance, std::hypot(a, b)),
                  scale * scale * (2.0 * std::pow(b, 4) + 4.0 * a * a * b * b)});
      }
      of_level.push_back(nats);
    }
    Expected sum;
    for (const int level : levels_) sum.add(of_level[level]);
    const double bits = 1.0 / (static_cast<double>(levels_.size()) * std::log(2.0));
    return {sum.mean * bits, sum.variance * bits * bits};
  }

  static std::vector<int> all_levels() {
    const GaussianImages images;
    std::vector<int> levels;
    for (int64_t i = 0; i < images.size(); ++i) {
      const torch::Tensor image = images.get(i).image.flatten();
      for (int64_t p = 0; p < 64; ++p) levels.push_back(image[p].item<uint8_t>());
    }
    return levels;
  }

  Schedule schedule_{{.timesteps = 100}};
  std::vector<int> levels_ = all_levels();  // of every pixel
};

constexpr std::array kAll{ModelVariance::kSmall, ModelVariance::kLarge, ModelVariance::kLearned,
                          ModelVariance::kAnalytic};

TEST_F(StridedBound, OfGaussianDataIsTheClosedFormJumpByJump) {
  for (const int64_t steps : {5, 20, 100})
    for (const Spacing spacing : {Spacing::kLeading, Spacing::kTrailing})
      for (const ModelVariance variance : kAll) {
        const LikelihoodOptions options = with(schedule_, variance, steps, spacing);
        const Likelihood found = measured(schedule_, options);
        const std::vector<double> expected = expected_terms(options);
        ASSERT_EQ(std::ssize(found.terms), steps);
        EXPECT_EQ(found.jumps, steps);
        EXPECT_TRUE(found.every_t);
        double total = found.prior.value;
        for (size_t i = 0; i < expected.size(); ++i) {
          EXPECT_EQ(found.terms[i].low, options.plan[expected.size() - 1 - i].t);
          EXPECT_NEAR(found.terms[i].bits.value, expected[i], 1e-7 * std::abs(expected[i]) + 1e-12)
              << steps << " " << config::to_string(variance) << " " << found.terms[i].low;
          total += expected[i];
        }
        EXPECT_NEAR(found.total.value, total, 1e-6 * total);
      }
}

TEST_F(StridedBound, OfGaussianDataIsWhatIsExpectedOverAllNoise) {
  for (const int64_t steps : {5, 20, 100})
    for (const ModelVariance variance : kAll) {
      const LikelihoodOptions options = with(schedule_, variance, steps, Spacing::kTrailing);
      const Expected expected = expected_bound(options);
      const double found = measured(schedule_, options).total.value;
      EXPECT_NEAR(found, expected.mean, 4.0 * std::sqrt(expected.variance))
          << steps << " " << config::to_string(variance);
    }
}

TEST_F(StridedBound, OfAllStepsIsTheOrdinaryBound) {
  for (const ModelVariance variance :
       {ModelVariance::kSmall, ModelVariance::kLarge, ModelVariance::kLearned}) {
    const Likelihood strided = measured(schedule_, with(schedule_, variance, 100));
    const Likelihood all = measured(schedule_, {.variance = variance, .seed = kSeed, .batch = 20});
    EXPECT_NEAR(strided.total.value, all.total.value, 1e-10 * all.total.value);
    EXPECT_EQ(strided.prior.value, all.prior.value);
    for (size_t i = 0; i < 100; ++i)
      EXPECT_NEAR(strided.terms[i].bits.value, all.terms[i].bits.value,
                  1e-8 * all.terms[i].bits.value)
          << i;
  }
}

TEST_F(StridedBound, IsSmallestWithTheAnalyticVariance) {
  for (const int64_t steps : {5, 10, 25, 100}) {
    const auto bits = [&](ModelVariance variance, double factor = 1.0) {
      LikelihoodOptions options = with(schedule_, variance, steps, Spacing::kTrailing);
      options.posterior_variance = posterior_variances(schedule_, factor);
      return measured(schedule_, options).total.value;
    };
    const double best = bits(ModelVariance::kAnalytic);
    EXPECT_LT(best, bits(ModelVariance::kSmall)) << steps;
    EXPECT_LT(best, bits(ModelVariance::kLarge)) << steps;
    EXPECT_LT(best, bits(ModelVariance::kLearned)) << steps;
    EXPECT_LT(best, bits(ModelVariance::kAnalytic, 0.8)) << steps;
    EXPECT_LT(best, bits(ModelVariance::kAnalytic, 1.25)) << steps;
  }
}

// On average over the random jumps, the sum of all.
TEST_F(StridedBound, FewCallsEstimateIt) {
  LikelihoodOptions options = with(schedule_, ModelVariance::kAnalytic, 20);
  options.batch = 64;
  const Likelihood all = measured(schedule_, options);
  for (const int64_t calls : {2, 5, 19}) {
    double sum = 0.0, squares = 0.0;
    constexpr int kRuns = 30;
    for (int run = 0; run < kRuns; ++run) {
      options.calls = calls;
      options.seed = 10 + static_cast<uint64_t>(run);
      const Likelihood few = measured(schedule_, options);
      EXPECT_EQ(std::ssize(few.terms), calls);
      EXPECT_FALSE(few.every_t);
      sum += few.total.value / kRuns;
      squares += few.total.value * few.total.value / kRuns;
    }
    const double error = std::sqrt((squares - sum * sum) / kRuns);
    EXPECT_NEAR(sum, all.total.value, 4.0 * (error + all.total.error / 8.0)) << calls;
  }
}

TEST_F(StridedBound, TheLastJumpHasAtLeastALevelsVariance) {
  LikelihoodOptions options = with(schedule_, ModelVariance::kAnalytic, 5);
  options.posterior_variance.assign(101, 0.0);
  EXPECT_TRUE(std::isfinite(measured(schedule_, options).total.value));
}

TEST_F(StridedBound, NeedsAChainAndItsVariances) {
  const auto with_plan = [&](std::vector<PlanStep> plan) {
    return measured(schedule_, {.plan = std::move(plan), .batch = 64});
  };
  EXPECT_NO_THROW(with_plan({{100, 5}, {5, 0}}));
  EXPECT_THROW(with_plan({{100, 5}, {4, 0}}), c10::Error);
  EXPECT_THROW(with_plan({{100, 5}, {5, 1}}), c10::Error);
  EXPECT_THROW(with_plan({{101, 0}}), c10::Error);
  LikelihoodOptions options = with(schedule_, ModelVariance::kAnalytic, 5);
  options.posterior_variance.clear();
  EXPECT_THROW(measured(schedule_, options), c10::Error);
}

}  // namespace
}  // namespace ddpm::eval::chain_terms_test
