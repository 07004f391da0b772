// The sampler's interface carries methods of second order: one that remembers (DPM-Solver++(2M)) and
// one that calls the network twice per step (Heun). Neither is shipped; both are checked against the
// exact solution of the probability-flow ODE for Gaussian data.

#include "ddpm/sample/generate.h"
#include "ddpm/sample/methods.h"
#include "ddpm/sample/reverse_process.h"
#include "tests/sample/exact_denoiser.h"

#include <cmath>
#include <optional>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

double signal(const diffusion::Schedule& s, int64_t t) { return std::sqrt(s.alpha_bar(t)); }
double noise(const diffusion::Schedule& s, int64_t t) {
  return std::sqrt(s.one_minus_alpha_bar(t));
}

/// DPM-Solver++(2M) (Lu 2022b, Alg. 2) with lambda = log(signal / noise); the first step and the one
/// to s = 0 are of first order.
class TwoStep : public Sampler {
 public:
  explicit TwoStep(const diffusion::Schedule& schedule) : schedule_(schedule) {}

  torch::Tensor step(const PlanStep& step, const torch::Tensor& x_t, const Estimator& estimate,
                     const StepNoise&) override {
    const torch::Tensor x0 = estimate(x_t, step.t).x0;
    if (step.s == 0) return x0;
    const double h = lambda(step.s) - lambda(step.t);
    torch::Tensor d = x0;
    if (last_x0_) {
      const double r = last_h_ / h;
      d = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * *last_x0_;
    }
    last_x0_ = x0, last_h_ = h;
    return noise(schedule_, step.s) / noise(schedule_, step.t) * x_t -
           signal(schedule_, step.s) * std::expm1(-h) * d;
  }

 private:
  double lambda(int64_t t) const { return std::log(signal(schedule_, t) / noise(schedule_, t)); }

  diffusion::Schedule schedule_;
  std::optional<torch::Tensor> last_x0_;
  double last_h_ = 0;
};

/// Heun's method on dy/du = eps_hat, with y = x / signal and u = noise / signal (Song 2021, Eq. 14).
class Heun : public Sampler {
 public:
  explicit Heun(const diffusion::Schedule& schedule) : schedule_(schedule) {}

  torch::Tensor step(const PlanStep& step, const torch::Tensor& x_t, const Estimator& estimate,
                     const StepNoise&) override {
    const double a_t = signal(schedule_, step.t), a_s = signal(schedule_, step.s);
    const double du = noise(schedule_, step.s) / a_s - noise(schedule_, step.t) / a_t;
    const torch::Tensor y = x_t / a_t, slope = estimate(x_t, step.t).eps;
    const torch::Tensor euler = a_s * (y + du * slope);
    if (step.s == 0) return euler;
    return a_s * (y + du * (slope + estimate(euler, step.s).eps) / 2);
  }

 private:
  diffusion::Schedule schedule_;
};

constexpr double kMean = 0.3, kVariance = 0.25;
constexpr int64_t kEnd = 241;  // a step of every plan below

/// Largest error at t = kEnd after integrating from T in S steps, and the network's calls.
struct Outcome {
  double error = 0;
  int64_t calls = 0;
};

Outcome integrate(int64_t steps, const ReverseProcess::MakeSampler& make,
                  const diffusion::Schedule& schedule) {
  SampleConfig config;
  config.steps = steps;
  config.spacing = Spacing::kLinspace;
  config.clip = Clip::kNone;
  const auto exact = gaussian_denoiser(schedule, kMean, kVariance, diffusion::Prediction::kV);
  Outcome outcome;
  const auto network = [&](const torch::Tensor& x, const torch::Tensor& t) {
    ++outcome.calls;
    return exact(x, t);
  };
  const torch::Tensor x_T = torch::linspace(-2, 2, 16, torch::kFloat64).view({1, 1, 4, 4});
  // The ODE moves every quantile of the marginal N(a m, a^2 c + sigma^2) along with it.
  const auto deviation = [&](int64_t t) {
    return std::sqrt(schedule.alpha_bar(t) * kVariance + schedule.one_minus_alpha_bar(t));
  };
  const int64_t T = schedule.timesteps();
  const torch::Tensor solution =
      signal(schedule, kEnd) * kMean +
      (x_T - signal(schedule, T) * kMean) / deviation(T) * deviation(kEnd);
  const auto hook = [&](const TrajectoryPoint& point) {
    if (point.step.t == kEnd) outcome.error = (point.x_t - solution).abs().max().item<double>();
    return true;
  };
  const auto none = [](int64_t, int64_t) -> torch::Tensor { throw std::logic_error("no noise"); };
  ReverseProcess(diffusion::Diffusion(schedule, diffusion::Prediction::kV), config, make)
      .run(network, x_T, none, hook);
  EXPECT_GT(outcome.error, 0);
  return outcome;
}

// Halving the step divides the error by 2 (first order) or by 4 (second).
TEST(SecondOrder, ErrorsShrinkWithTheOrderOfTheMethod) {
  const diffusion::Schedule schedule({.timesteps = 961});
  SampleConfig ddim;
  ddim.method = kDdim;
  const auto first = [&] { return make_sampler(ddim, schedule); };
  const auto two_step = [&] { return std::make_unique<TwoStep>(schedule); };
  const auto heun = [&] { return std::make_unique<Heun>(schedule); };
  const auto ratio = [&](const ReverseProcess::MakeSampler& make) {
    return integrate(33, make, schedule).error / integrate(65, make, schedule).error;
  };
  EXPECT_NEAR(ratio(first), 2.0, 0.3);
  EXPECT_NEAR(ratio(two_step), 4.0, 0.8);
  EXPECT_NEAR(ratio(heun), 4.0, 0.8);
  EXPECT_LT(integrate(33, two_step, schedule).error, integrate(33, first, schedule).error / 4);
  EXPECT_EQ(integrate(33, two_step, schedule).calls, 33);
  EXPECT_EQ(integrate(33, heun, schedule).calls, 65);  // one at the last step
}

/// Returns the sum of two draws of noise.
class TwoDraws : public Sampler {
 public:
  torch::Tensor step(const PlanStep&, const torch::Tensor& x_t, const Estimator& estimate,
                     const StepNoise& noise) override {
    estimate(x_t, 1);
    const torch::Tensor first = noise(0).clone(), second = noise(1);
    EXPECT_FALSE(torch::equal(first, second));
    EXPECT_LT((first * second).mean().item<double>(), 0.2);  // 4096 values: 13 deviations
    return first + 10 * second;
  }
};

TEST(SecondOrder, FurtherDrawsAreOfTheImageAndTheStepAlone) {
  const diffusion::Schedule schedule({.timesteps = 4});
  const auto make = [] { return std::make_unique<TwoDraws>(); };
  const ReverseProcess process(diffusion::Diffusion(schedule, diffusion::Prediction::kEpsilon), {},
                               make);
  const auto network = [](const torch::Tensor& x, const torch::Tensor&) { return x; };
  const auto sampled = [&](const std::vector<int64_t>& images, int64_t batch) {
    GenerateOptions options;
    options.images = images;
    options.batch = batch;
    options.channels = 1, options.height = options.width = 64;
    std::vector<torch::Tensor> batches;
    const auto result = generate(network, process, options,
                                 [&](int64_t, const torch::Tensor& x) { batches.push_back(x); });
    EXPECT_EQ(result.network_calls, 4);
    return torch::cat(batches);
  };
  const torch::Tensor all = sampled({0, 1, 2}, 3);
  EXPECT_TRUE(torch::equal(all[2], sampled({2}, 1)[0]));
  EXPECT_TRUE(torch::equal(all, sampled({0, 1, 2}, 2)));
  EXPECT_FALSE(torch::equal(all[0], all[1]));
}

}  // namespace
}  // namespace ddpm::sample
