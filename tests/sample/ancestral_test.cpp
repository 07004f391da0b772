#include "src/sample/ancestral.h"

#include "ddpm/diffusion/posterior.h"
#include "ddpm/sample/reverse_process.h"
#include "tests/sample/exact_denoiser.h"
#include "tests/sample/one_step.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample::ancestral_test {
namespace {

torch::Tensor number(double value) { return torch::full({1, 1, 1, 1}, value, torch::kFloat64); }

/// What the step makes of (x_t, x0_hat, z), eps_hat being none of its business.
double stepped(AncestralSampler& sampler, PlanStep step, double x_t, double x0, double z) {
  return one_step(sampler, step, number(x_t), {number(x0), torch::Tensor()}, number(z))
      .x_s.item<double>();
}

TEST(Ancestral, StridedPosteriorIsTheProductOfTwoGaussians) {
  // q(x_s | x_t, x_0) ~ q(x_s | x_0) q(x_t | x_s): precisions add, means are weighted by them.
  const diffusion::Schedule schedule({});
  AncestralSampler sampler(schedule, AncestralVariance::kSmall);
  for (const PlanStep step :
       {PlanStep{1000, 900}, PlanStep{501, 1}, PlanStep{2, 1}, PlanStep{30, 29}}) {
    const double ratio = schedule.alpha_bar(step.t) / schedule.alpha_bar(step.s);
    const double prior = 1 - schedule.alpha_bar(step.s);
    const double likelihood = 1 - ratio;  // variance of x_t given x_s
    const double variance = 1 / (1 / prior + ratio / likelihood);
    const double x0 = 0.4, x_t = -0.7;
    const double mean = variance * (std::sqrt(schedule.alpha_bar(step.s)) * x0 / prior +
                                    std::sqrt(ratio) * x_t / likelihood);
    EXPECT_NEAR(stepped(sampler, step, x_t, x0, 0), mean, 1e-11);
    EXPECT_NEAR(stepped(sampler, step, x_t, x0, 1) - mean, std::sqrt(variance), 1e-11);
  }
}

TEST(Ancestral, SingleStepsAreHosAlgorithm2) {
  // Line 4: (x_t - beta_t / sqrt(1 - alpha_bar_t) eps) / sqrt(alpha_t) + sigma_t z, from eps_hat.
  const diffusion::Schedule schedule({});
  AncestralSampler small(schedule, AncestralVariance::kSmall);
  AncestralSampler large(schedule, AncestralVariance::kLarge);
  for (const int64_t t : {2, 10, 500, 1000}) {
    const double noise = std::sqrt(1 - schedule.alpha_bar(t));
    const double x_t = 0.9, eps = -0.6, z = 1.3;
    const double x0 = (x_t - noise * eps) / std::sqrt(schedule.alpha_bar(t));
    const double mean = (x_t - schedule.beta(t) / noise * eps) / std::sqrt(schedule.alpha(t));
    const double beta_tilde = schedule.posterior_variance(t);
    const PlanStep step{t, t - 1};
    EXPECT_NEAR(stepped(small, step, x_t, x0, z), mean + std::sqrt(beta_tilde) * z, 1e-11);
    EXPECT_NEAR(stepped(large, step, x_t, x0, z), mean + std::sqrt(schedule.beta(t)) * z, 1e-11);
  }
}

diffusion::ScheduleConfig named(diffusion::ScheduleKind kind, int64_t timesteps) {
  diffusion::ScheduleConfig config;
  config.kind = kind;
  config.timesteps = timesteps;
  return config;
}

/// A schedule with nothing of the image left at T: sqrt(alpha_bar) shifted and scaled so that it
/// ends at 0 and begins where it did (Lin et al. 2024, Algorithm 1).
diffusion::ScheduleConfig zero_terminal(const diffusion::ScheduleConfig& from) {
  const diffusion::Schedule schedule(from);
  const int64_t T = schedule.timesteps();
  const double first = std::sqrt(schedule.alpha_bar(1)), last = std::sqrt(schedule.alpha_bar(T));
  diffusion::ScheduleConfig config = named(diffusion::ScheduleKind::kTable, T);
  double before = 1;
  for (int64_t t = 1; t <= T; ++t) {
    const double shifted = std::sqrt(schedule.alpha_bar(t)) - last;
    const double alpha_bar = std::pow(shifted * first / (first - last), 2);
    config.betas.push_back(1 - alpha_bar / before);
    before = alpha_bar;
  }
  return config;
}

std::vector<std::pair<std::string, diffusion::ScheduleConfig>> schedules() {
  using Kind = diffusion::ScheduleKind;
  return {{"linear", named(Kind::kLinear, 1000)},
          {"linear, T = 5000", named(Kind::kLinear, 5000)},
          {"cosine", named(Kind::kCosine, 1000)},
          {"quadratic", named(Kind::kQuadratic, 1000)},
          {"sigmoid", named(Kind::kSigmoid, 1000)},
          {"linear, zero terminal", zero_terminal(named(Kind::kLinear, 1000))},
          {"cosine, zero terminal", zero_terminal(named(Kind::kCosine, 1000))}};
}

/// The posterior of a jump in long double, from products alone.
class LongPosterior {
 public:
  explicit LongPosterior(const diffusion::Schedule& schedule) : alpha_bar_{1} {
    for (int64_t t = 1; t <= schedule.timesteps(); ++t)
      alpha_bar_.push_back(alpha_bar_.back() * (1 - (long double)schedule.beta(t)));
  }
  /// The largest relative error of the four weights.
  long double error(const diffusion::JumpPosterior& got, PlanStep step) const {
    const long double a_t = alpha_bar_[step.t], a_s = alpha_bar_[step.s];
    const long double beta = 1 - a_t / a_s, small = (1 - a_s) / (1 - a_t) * beta;
    const auto off = [](double value, long double want) -> long double {
      if (!std::isfinite(value)) return 1e9L;
      return value == want ? 0.0L : std::abs(value - want) / std::abs(want);
    };
    return std::max({off(got.x0, std::sqrt(a_s) * beta / (1 - a_t)),
                     off(got.x_t, std::sqrt(a_t / a_s) * (1 - a_s) / (1 - a_t)),
                     off(got.small, small), off(got.large, beta)});
  }

 private:
  std::vector<long double> alpha_bar_;
};

TEST(Ancestral, WeightsArePreciseForEveryNumberOfStepsOfEverySchedule) {
  for (const auto& [name, config] : schedules()) {
    const diffusion::Schedule schedule(config);
    const int64_t T = schedule.timesteps();
    const LongPosterior exact(schedule);
    for (const Spacing spacing :
         {Spacing::kLeading, Spacing::kTrailing, Spacing::kLinspace, Spacing::kQuadratic}) {
      long double worst = 0;
      int64_t worst_steps = 0;
      // The many plans of T = 5000 differ little: every 7th.
      for (int64_t steps = 1; steps <= T; steps += T > 1000 ? 7 : 1) {
        for (const PlanStep& step : timestep_plan(T, steps, spacing)) {
          const long double error =
              exact.error(diffusion::jump_posterior(schedule, step.t, step.s), step);
          if (error > worst) worst = error, worst_steps = steps;
        }
      }
      // 1 - alpha_bar_t of the reference keeps 19 digits less those of 1 / beta_1 = 1e5; sums and
      // products of T rounded numbers in double cost T * 1e-16.
      EXPECT_LT(worst, 5e-12L) << name << ", " << config::to_string(spacing)
                               << ", S = " << worst_steps;
    }
  }
}

TEST(Ancestral, ChainsOfFewStepsEndInAnImageOnEverySchedule) {
  for (const auto& [name, config] : schedules()) {
    const diffusion::Schedule schedule(config);
    const auto network = [&](const torch::Tensor& x, const torch::Tensor& t) {
      const torch::Tensor v =
          gaussian_denoiser(schedule, 0.3, 0.04, diffusion::Prediction::kV)(x, t);
      return torch::cat({v, torch::zeros_like(v)}, 1);  // with a learned variance
    };
    for (const Sigma sigma : {Sigma::kSmall, Sigma::kLarge, Sigma::kLearned}) {
      for (const int64_t steps : {1, 2, 3, 4, 20, 29, 30, 31, 32, 33, 34, 35, 50}) {
        SampleConfig sampling;
        sampling.sigma = sigma;
        sampling.steps = steps;
        sampling.spacing = Spacing::kTrailing;
        const ReverseProcess process(diffusion::Diffusion(schedule, diffusion::Prediction::kV),
                                     sampling);
        const torch::Tensor x_T = torch::linspace(-2, 2, 64).view({1, 1, 8, 8});
        const auto image =
            process.run(network, x_T, [&](int64_t k, int64_t) { return x_T.roll(k + 1, 3); });
        // The data's mean is 0.3, its deviation 0.2: what is far from it is no image. 20 values of
        // x_0 and a chain of few steps with beta for its variance stray by a few deviations.
        EXPECT_LT((*image - 0.3).abs().max().item<double>(), 2.0)
            << name << ", " << config::to_string(sigma) << ", S = " << steps;
      }
    }
  }
}

TEST(Ancestral, LastStepIsX0WithoutNoise) {
  const diffusion::Schedule schedule({});
  for (const auto variance : {AncestralVariance::kSmall, AncestralVariance::kLarge}) {
    AncestralSampler sampler(schedule, variance);
    for (const int64_t t : {1, 100, 1000}) {
      const diffusion::Estimate estimate{number(0.4), torch::Tensor()};
      EXPECT_EQ(one_step(sampler, {t, 0}, number(5.0), estimate, number(100.0)).noises, 0);
      EXPECT_NEAR(stepped(sampler, {t, 0}, 5.0, 0.4, 100.0), 0.4, 1e-13);
    }
  }
}

}  // namespace
}  // namespace ddpm::sample::ancestral_test
