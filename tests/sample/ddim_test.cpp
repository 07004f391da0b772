#include "src/sample/ddim.h"

#include "ddpm/sample/reverse_process.h"
#include "src/sample/ancestral.h"
#include "tests/sample/one_step.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

torch::Tensor number(double value) { return torch::full({1, 1, 1, 1}, value, torch::kFloat64); }

struct Point {
  double x0 = 0.4, eps = -0.8, z = 1.7;
};

OneStep step_at(Sampler& sampler, const diffusion::Schedule& schedule, PlanStep step,
                const Point& p) {
  const double x_t = std::sqrt(schedule.alpha_bar(step.t)) * p.x0 +
                     std::sqrt(schedule.one_minus_alpha_bar(step.t)) * p.eps;
  return one_step(sampler, step, number(x_t), {number(p.x0), number(p.eps)}, number(p.z));
}

double stepped(Sampler& sampler, const diffusion::Schedule& schedule, PlanStep step,
               const Point& p) {
  return step_at(sampler, schedule, step, p).x_s.item<double>();
}

const std::vector<PlanStep> kSteps{{1000, 900}, {501, 1}, {2, 1}, {30, 29}};

TEST(Ddim, IsSongsEquation12With16) {
  const diffusion::Schedule schedule({});
  for (const double eta : {0.0, 0.3, 1.0}) {
    DdimSampler sampler(schedule, {.eta = eta});
    for (const PlanStep step : kSteps) {
      const double now = schedule.alpha_bar(step.t), then = schedule.alpha_bar(step.s);
      const double sigma = eta * std::sqrt((1 - then) / (1 - now)) * std::sqrt(1 - now / then);
      const Point p;
      const double want =
          std::sqrt(then) * p.x0 + std::sqrt(1 - then - sigma * sigma) * p.eps + sigma * p.z;
      // 1e-11: the plain differences from 1 in `want` lose 4 of 16 digits near t = 1.
      EXPECT_NEAR(stepped(sampler, schedule, step, p), want, 1e-11);
      EXPECT_EQ(step_at(sampler, schedule, step, p).noises, eta > 0);
    }
  }
}

TEST(Ddim, EtaOneIsAnAncestralStepOfTheSmallVariance) {
  const diffusion::Schedule schedule({});
  DdimSampler ddim(schedule, {.eta = 1.0});
  AncestralSampler ancestral(schedule, AncestralVariance::kSmall);
  for (const PlanStep step : kSteps) {
    EXPECT_NEAR(stepped(ddim, schedule, step, {}), stepped(ancestral, schedule, step, {}), 1e-13);
  }
}

TEST(Ddim, SigmaHatIsAnAncestralStepOfTheLargeVariance) {
  const diffusion::Schedule schedule({});
  DdimSampler ddim(schedule, {.sigma_hat = true});
  AncestralSampler ancestral(schedule, AncestralVariance::kLarge);
  for (const PlanStep step : kSteps) {
    EXPECT_EQ(step_at(ddim, schedule, step, {}).noises, 1);
    EXPECT_NEAR(stepped(ddim, schedule, step, {}), stepped(ancestral, schedule, step, {}), 1e-13);
  }
}

TEST(Ddim, EveryEtaKeepsTheMarginal) {
  // Song 2021, Lemma 1: if x_t ~ N(a_t x0, n_t^2) and the network knows x0, then x_s ~ N(a_s x0,
  // n_s^2).
  const diffusion::Schedule schedule({});
  for (const double eta : {0.0, 0.5, 1.0}) {
    DdimSampler sampler(schedule, {.eta = eta});
    for (const PlanStep step : kSteps) {
      const double centre = stepped(sampler, schedule, step, {.x0 = 0.4, .eps = 0, .z = 0});
      const double by_eps =
          stepped(sampler, schedule, step, {.x0 = 0.4, .eps = 1, .z = 0}) - centre;
      const double by_z = stepped(sampler, schedule, step, {.x0 = 0.4, .eps = 0, .z = 1}) - centre;
      EXPECT_NEAR(centre, std::sqrt(schedule.alpha_bar(step.s)) * 0.4, 1e-14);
      EXPECT_NEAR(by_eps * by_eps + (eta > 0 ? by_z * by_z : 0), 1 - schedule.alpha_bar(step.s),
                  1e-14);
    }
  }
}

TEST(Ddim, LastStepIsX0WithoutNoise) {
  const diffusion::Schedule schedule({});
  for (const DdimNoise& noise : {DdimNoise{0.0}, DdimNoise{1.0}, DdimNoise{0.0, true}}) {
    DdimSampler sampler(schedule, noise);
    EXPECT_EQ(step_at(sampler, schedule, {20, 0}, {}).noises, 0);
    EXPECT_EQ(stepped(sampler, schedule, {20, 0}, {}), 0.4);
  }
}

TEST(Ddim, RefusesEtaOutsideZeroToOne) {
  const diffusion::Schedule schedule({});
  EXPECT_THROW(DdimSampler(schedule, {.eta = 1.1}), c10::Error);
  EXPECT_THROW(DdimSampler(schedule, {.eta = -0.1}), c10::Error);
}

// x_s = x_t + (tau_s - tau_t) u on the straight path (Lipman 2023, Sec. 4).
TEST(Ddim, OnTheStraightPathIsEulersMethod) {
  const diffusion::Schedule schedule({.kind = diffusion::ScheduleKind::kFlow, .timesteps = 40});
  const diffusion::Diffusion diffusion(schedule, diffusion::Prediction::kFlow);
  const auto velocity = [](const torch::Tensor& y, const torch::Tensor& time) {
    return torch::cos(2 * y + time.view({-1, 1, 1, 1}) / 40);
  };
  const diffusion::Denoiser network = [&](const torch::Tensor& x, const torch::Tensor& t) {
    const diffusion::NetworkInput input = diffusion.network_input(x, t);
    return velocity(input.x, input.time);
  };
  SampleConfig config;
  config.method = kDdim;
  config.steps_at = {40, 31, 17, 9, 2, 1};
  config.clip = Clip::kNone;
  const torch::Tensor x_T = torch::linspace(-2, 2, 32, torch::kDouble).view({2, 1, 4, 4});
  const torch::Tensor image =
      *ReverseProcess(diffusion, config).run(network, x_T, [&](int64_t, int64_t) { return x_T; });
  torch::Tensor y = x_T;  // x_T is eps, which is where the path begins
  for (size_t i = 0; i < config.steps_at.size(); ++i) {
    const auto t = static_cast<double>(config.steps_at[i]);
    const double s =
        i + 1 < config.steps_at.size() ? static_cast<double>(config.steps_at[i + 1]) : 0;
    y = y + (s - t) / 40 * velocity(y, torch::full({2}, t, torch::kDouble));
  }
  EXPECT_LT((image - y).abs().max().item<double>(), 1e-12);
}

}  // namespace
}  // namespace ddpm::sample
