#include "ddpm/diffusion/diffusion.h"

#include "ddpm/diffusion/posterior.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::diffusion {
namespace {

constexpr Prediction kAll[] = {Prediction::kEpsilon, Prediction::kX0,   Prediction::kMu,
                               Prediction::kV,       Prediction::kFlow, Prediction::kEdm};

/// A batch of images with noise, one for each t.
struct Case {
  Schedule schedule;
  torch::Tensor t, x0, eps, x_t;
  Case(const ScheduleConfig& config, torch::Tensor timesteps,
       torch::ScalarType dtype = torch::kFloat64)
      : schedule(config), t(std::move(timesteps)) {
    auto generator = at::make_generator<at::CPUGeneratorImpl>(7);
    x0 = torch::rand({t.size(0), 2, 3, 3}, generator, dtype) * 2 - 1;
    eps = torch::randn({t.size(0), 2, 3, 3}, generator, dtype);
    x_t = Diffusion(schedule, Prediction::kEpsilon).noised(x0, t, eps);
  }
  torch::Tensor target(Prediction prediction) const {
    return Diffusion(schedule, prediction).target(x0, eps, x_t, t);
  }
};

double distance(const torch::Tensor& a, const torch::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

TEST(Parameterization, EveryPairConvertsThereAndBack) {
  // At all t of the schedules in use. The worst amplification of rounding is 1/sqrt(alpha_bar_T) =
  // 2e4 (cosine), so 1e-10 leaves two digits.
  for (const auto kind : {ScheduleKind::kLinear, ScheduleKind::kCosine}) {
    const Case c({.kind = kind}, torch::arange(1, 1001, torch::kInt64));
    for (const Prediction from : kAll) {
      const Estimate found = Diffusion(c.schedule, from).estimate(c.target(from), c.x_t, c.t);
      EXPECT_LT(distance(found.x0, c.x0), 1e-10) << config::to_string(from);
      EXPECT_LT(distance(found.eps, c.eps), 1e-10) << config::to_string(from);
      for (const Prediction to : kAll) {
        const torch::Tensor converted =
            Diffusion(c.schedule, to).target(found.x0, found.eps, c.x_t, c.t);
        EXPECT_LT(distance(converted, c.target(to)), 1e-10)
            << config::to_string(from) << " to " << config::to_string(to);
      }
    }
  }
}

TEST(Parameterization, EstimatesAddUpToXtWhateverTheNetworkSays) {
  const Case c({}, torch::arange(1, 1001, torch::kInt64));
  const torch::Tensor nonsense = torch::cos(37 * c.x_t);
  for (const Prediction prediction : kAll) {
    const Estimate found = Diffusion(c.schedule, prediction).estimate(nonsense, c.x_t, c.t);
    const torch::Tensor sum = Diffusion(c.schedule, prediction).noised(found.x0, c.t, found.eps);
    EXPECT_LT(distance(sum, c.x_t), 1e-10) << config::to_string(prediction);
  }
}

TEST(Parameterization, OneTimestepForTheBatchGivesTheSameAsATensorOfThem) {
  for (const int64_t t : {1, 2, 500, 1000}) {
    const Case c({}, torch::full({3}, t, torch::kInt64));
    for (const Prediction prediction : kAll) {
      const torch::Tensor output = c.target(prediction);
      const Estimate by_tensor = Diffusion(c.schedule, prediction).estimate(output, c.x_t, c.t);
      const Estimate by_number = Diffusion(c.schedule, prediction).estimate(output, c.x_t, t);
      EXPECT_LT(distance(by_tensor.x0, by_number.x0), 1e-12);
      EXPECT_LT(distance(by_tensor.eps, by_number.eps), 1e-12);
    }
  }
}

TEST(Parameterization, MuIsThePosteriorMeanAndAtTheFirstStepX0) {
  const Case c({}, torch::arange(1, 1001, torch::kInt64));
  const torch::Tensor mu = c.target(Prediction::kMu);
  EXPECT_LT(distance(mu, posterior_mean(c.schedule, c.x0, c.x_t, c.t)), 1e-15);
  EXPECT_TRUE(torch::equal(mu[0], c.x0[0]));
  const Estimate found = Diffusion(c.schedule, Prediction::kMu)
                             .estimate(mu.narrow(0, 0, 1), c.x_t.narrow(0, 0, 1), int64_t{1});
  EXPECT_TRUE(torch::equal(found.x0, mu.narrow(0, 0, 1)));
}

TEST(Parameterization, MuFromEpsIsHosEquation11) {
  // mu = (x_t - beta_t / sqrt(1 - alpha_bar_t) eps) / sqrt(alpha_t)
  const Case c({}, torch::tensor({1, 2, 300, 1000}, torch::kInt64));
  const torch::Tensor mu = c.target(Prediction::kMu);
  for (int64_t b = 0; b < 4; ++b) {
    const auto t = c.t[b].item<int64_t>();
    const double weight = c.schedule.beta(t) / std::sqrt(1 - c.schedule.alpha_bar(t));
    const torch::Tensor want = (c.x_t[b] - weight * c.eps[b]) / std::sqrt(c.schedule.alpha(t));
    EXPECT_LT(distance(mu[b], want), 1e-12);
  }
}

TEST(Parameterization, VIsTheVelocityAlongTheCircleOfSignalAndNoise) {
  // Salimans and Ho 2022, App. D: with x_phi = cos(phi) x0 + sin(phi) eps, v is dx/dphi.
  const Case c({}, torch::tensor({1, 300, 1000}, torch::kInt64));
  const torch::Tensor v = c.target(Prediction::kV);
  for (int64_t b = 0; b < 3; ++b) {
    const double phi = std::acos(std::sqrt(c.schedule.alpha_bar(c.t[b].item<int64_t>())));
    const auto x = [&](double angle) {
      return std::cos(angle) * c.x0[b] + std::sin(angle) * c.eps[b];
    };
    const double h = 1e-5;  // central difference: error h^2 / 6 and rounding / h, both about 1e-11
    EXPECT_LT(distance(v[b], (x(phi + h) - x(phi - h)) / (2 * h)), 1e-9);
  }
}

// Lipman 2023, Eq. 22 and 23: x_tau = (1 - tau) x0 + tau eps, and its derivative.
TEST(Parameterization, FlowIsTheVelocityOfTheStraightPath) {
  for (const auto kind : {ScheduleKind::kFlow, ScheduleKind::kCosine}) {
    const int64_t last = kind == ScheduleKind::kFlow ? 999 : 1000;  // see the next test
    const Case c({.kind = kind}, torch::arange(1, last + 1, torch::kInt64));
    const NetworkInput input = Diffusion(c.schedule, Prediction::kFlow).network_input(c.x_t, c.t);
    const torch::Tensor tau = (input.time / 1000).view({-1, 1, 1, 1});
    EXPECT_LT(distance(input.x, (1 - tau) * c.x0 + tau * c.eps), 1e-12);
    EXPECT_LT(distance(c.target(Prediction::kFlow), c.eps - c.x0), 1e-15);
    if (kind == ScheduleKind::kFlow) {
      EXPECT_LT(distance(input.time, c.t.to(torch::kDouble)), 1e-10) << "T tau = t";
    }
  }
}

TEST(Parameterization, FlowHasAnEstimateWhereNothingIsLeftOfTheImage) {
  const Case c({.kind = ScheduleKind::kFlow}, torch::tensor({1000}, torch::kInt64));
  const Diffusion diffusion(c.schedule, Prediction::kFlow);
  EXPECT_LT(distance(c.x_t, c.eps), 1e-15);
  EXPECT_LT(distance(diffusion.network_input(c.x_t, c.t).x, c.eps), 1e-15);
  EXPECT_LT(distance(diffusion.estimate(c.eps - c.x0, c.x_t, c.t).x0, c.x0), 1e-14);
}

// Karras 2022, Eq. 7 and Table 1: D = c_skip y + c_out F(c_in y, c_noise) with y = x0 + sigma eps.
TEST(Parameterization, EdmIsKarrasPreconditioning) {
  const Case c({.kind = ScheduleKind::kEdm}, torch::arange(1, 1001, torch::kInt64));
  const double std = 0.3;
  const Diffusion diffusion(c.schedule, {Prediction::kEdm, std});
  const NetworkInput input = diffusion.network_input(c.x_t, c.t);
  const torch::Tensor output = torch::cos(3 * c.x_t);
  const Estimate found = diffusion.estimate(output, c.x_t, c.t);
  for (int64_t b = 0; b < 1000; b += 37) {
    const int64_t t = b + 1;
    const double sigma = std::sqrt(c.schedule.one_minus_alpha_bar(t) / c.schedule.alpha_bar(t));
    const torch::Tensor y = c.x0[b] + sigma * c.eps[b];
    const double sum = sigma * sigma + std * std;
    EXPECT_LT(distance(input.x[b], y / std::sqrt(sum)), 1e-12) << t;
    EXPECT_NEAR(input.time[b].item<double>(), std::log(sigma) / 4, 1e-12) << t;
    const torch::Tensor denoised = std * std / sum * y + sigma * std / std::sqrt(sum) * output[b];
    EXPECT_LT(distance(found.x0[b], denoised), 1e-12) << t;
  }
}

TEST(Parameterization, EdmHasInputAndTargetOfUnitVarianceAtEveryNoiseLevel) {
  const double std = 0.5;
  const Schedule schedule({.kind = ScheduleKind::kEdm});
  const Diffusion diffusion(schedule, {Prediction::kEdm, std});
  const torch::Tensor t = torch::arange(1, 1001, torch::kInt64);
  const torch::Tensor one = torch::ones({1000, 1, 1, 1}, torch::kDouble), zero = 0 * one;
  // Both are linear in x0 and eps, whose variances are std^2 and 1.
  const auto variance = [&](const auto& of) {
    return (of(one, zero).square() * (std * std) + of(zero, one).square()).view({-1});
  };
  const torch::Tensor of_input = variance([&](const auto& x0, const auto& eps) {
    return diffusion.network_input(diffusion.noised(x0, t, eps), t).x;
  });
  const torch::Tensor of_target = variance([&](const auto& x0, const auto& eps) {
    return diffusion.target(x0, eps, diffusion.noised(x0, t, eps), t);
  });
  EXPECT_LT(distance(of_input, torch::ones_like(of_input)), 1e-12);
  EXPECT_LT(distance(of_target, torch::ones_like(of_target)), 1e-12);
}

TEST(Parameterization, OthersReadXtAndTheTimeFrom0) {
  const Case c({}, torch::tensor({1, 1000}, torch::kInt64));
  const NetworkInput input = Diffusion(c.schedule, Prediction::kV).network_input(c.x_t, c.t);
  EXPECT_TRUE(torch::equal(input.x, c.x_t));
  EXPECT_TRUE(torch::equal(input.time, torch::tensor({0, 999}, torch::kInt64)));
}

TEST(Parameterization, StaysFiniteWhereAlmostNoSignalIsLeft) {
  // alpha_bar_T = e^-101; what float32 cannot resolve must be large, not inf or nan.
  const ScheduleConfig config{.timesteps = 10000};
  const Case c(config, torch::tensor({1, 10000}, torch::kInt64), torch::kFloat32);
  ASSERT_LT(c.schedule.alpha_bar(10000), 1e-40);
  for (const Prediction prediction : kAll) {
    const Estimate found =
        Diffusion(c.schedule, prediction).estimate(c.target(prediction), c.x_t, c.t);
    EXPECT_TRUE(found.x0.isfinite().all().item<bool>()) << config::to_string(prediction);
    EXPECT_TRUE(found.eps.isfinite().all().item<bool>()) << config::to_string(prediction);
  }
}

TEST(Parameterization, WidensTheOutputToTheStatesDtype) {
  const Case c({}, torch::tensor({5, 900}, torch::kInt64));
  const Estimate found = Diffusion(c.schedule, Prediction::kV)
                             .estimate(c.target(Prediction::kV).to(torch::kBFloat16), c.x_t, c.t);
  EXPECT_EQ(found.x0.scalar_type(), torch::kFloat64);
  // v is rounded by 2^-9 of at most about 4.
  EXPECT_LT(distance(found.x0, c.x0), 4.0 / 256);
}

TEST(Estimate, SplitsOffALearnedVariance) {
  const Case c({}, torch::tensor({5, 900}, torch::kInt64));
  const Diffusion diffusion(c.schedule, Prediction::kV);
  const torch::Tensor v = c.target(Prediction::kV), variance = torch::cos(5 * c.x_t);
  const Estimate found = diffusion.estimate(torch::cat({v, variance}, 1), c.x_t, c.t);
  EXPECT_TRUE(torch::equal(found.x0, diffusion.estimate(v, c.x_t, c.t).x0));
  EXPECT_LT(distance(found.variance_weight, 0.5 * variance + 0.5), 1e-15);  // from -1..1 to 0..1
  EXPECT_FALSE(diffusion.estimate(v, c.x_t, c.t).variance_weight.defined());
  EXPECT_THROW(diffusion.estimate(torch::cat({v, v, v}, 1), c.x_t, c.t), c10::Error);
}

}  // namespace
}  // namespace ddpm::diffusion
