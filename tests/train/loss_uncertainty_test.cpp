#include "ddpm/train/loss_uncertainty.h"

#include "ddpm/train/learner.h"
#include "tests/train/small_experiment.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/utils.h>

namespace ddpm::train {
namespace {

LossUncertainty uncertainty_of(const diffusion::ScheduleConfig& config) {
  return LossUncertainty(diffusion::Schedule(config), 5, torch::kDouble, torch::kCPU);
}

// Karras 2024, Eq. 15: L / exp(u) + u is smallest at u = log E L.
TEST(LossUncertainty, LearnsTheLogarithmOfKnownLosses) {
  const diffusion::Schedule schedule(diffusion::ScheduleConfig{});
  LossUncertainty u = uncertainty_of(schedule.config());
  // The loss of an eps network that knows the variance 0.25 of Gaussian data alone:
  // E |eps - eps_hat|^2 = 0.25 alpha_bar / (0.25 alpha_bar + 1 - alpha_bar), from 1 down to 1e-5.
  const torch::Tensor all = torch::arange(1, 1001);
  const torch::Tensor snr =
      schedule.gather(diffusion::Table::kSnr, all, torch::empty({1}, torch::kDouble));
  const torch::Tensor expected = 0.25 * snr / (0.25 * snr + 1);
  Optimizer optimizer(u.parameters(), {});
  torch::manual_seed(1);
  for (int64_t step = 0; step < 4000; ++step) {
    const torch::Tensor t = torch::randint(1, 1001, {256}, torch::kLong);
    // The mean square of 16 numbers N(0, 1): mean 1, deviation sqrt(2 / 16).
    const torch::Tensor noise = torch::randn({256, 16}, torch::kDouble).square().mean(1);
    const torch::Tensor loss = expected.index_select(0, t - 1) * noise;
    u.zero_grad();
    LossUncertainty::balanced(loss, u.at(t)).mean().backward();
    optimizer.step_(step < 2000 ? 0.02 : 0.002);
  }
  const torch::NoGradGuard no_grad;
  const torch::Tensor error = (u.at(all) - expected.log()).abs();
  EXPECT_LT(expected.log().min().item<double>(), -9.0);
  // Features of width 1 follow the curve; the rest is the noise of the last batches.
  EXPECT_LT(error.mean().item<double>(), 0.05);
  EXPECT_LT(error.max().item<double>(), 0.3);
}

TEST(LossUncertainty, BeginsAtZeroAndIsAFunctionOfTheSeed) {
  LossUncertainty a = uncertainty_of({}), b = uncertainty_of({});
  const torch::Tensor t = torch::arange(1, 1001);
  EXPECT_EQ(a.at(t).abs().max().item<double>(), 0.0);
  for (LossUncertainty* u : {&a, &b}) u->at(t).exp().sum().backward();
  EXPECT_TRUE(torch::equal(a.parameters()[0].grad(), b.parameters()[0].grad()));
  EXPECT_GT(a.parameters()[0].grad().norm().item<double>(), 0.0);
}

TEST(LossUncertainty, IsFiniteWhereThereIsNoSignal) {
  LossUncertainty u = uncertainty_of({.zero_terminal_snr = true});
  u.at(torch::tensor({1, 500, 1000}, torch::kLong)).sum().backward();
  for (const torch::Tensor& p : u.parameters())
    EXPECT_TRUE(torch::isfinite(p.grad()).all().item<bool>());
}

// The features of t are those of its SNR alone.
TEST(LossUncertainty, DependsOnTheSignalToNoiseRatio) {
  LossUncertainty linear = uncertainty_of({.timesteps = 1000});
  LossUncertainty table = LossUncertainty(
      diffusion::Schedule(
          {.kind = diffusion::ScheduleKind::kTable,
           .timesteps = 1,
           .betas = {diffusion::Schedule(diffusion::ScheduleConfig{}).one_minus_alpha_bar(300)}}),
      5, torch::kDouble, torch::kCPU);
  linear.at(torch::tensor({300}, torch::kLong)).sum().backward();
  table.at(torch::tensor({1}, torch::kLong)).sum().backward();
  EXPECT_TRUE(
      torch::allclose(linear.parameters()[0].grad(), table.parameters()[0].grad(), 1e-9, 1e-9));
}

struct Step {
  std::vector<torch::Tensor> gradients;
  StepLosses losses;
};

Step step_with(Learner& learner, const data::Batch& batch) {
  learner.unet()->zero_grad();
  Step step;
  step.losses = accumulate_gradient(*learner.unet(), learner.settings(), batch, 1.0);
  for (const torch::Tensor& p : learner.unet()->parameters())
    step.gradients.push_back(p.grad().clone());
  return step;
}

TEST(LearnedWeight, DividesTheGradientByTheExponentialOfU) {
  const std::vector<std::string> plain{"model.dropout=0.0"};
  const Experiment simple = small_experiment(plain);
  const Experiment learned = small_experiment({plain[0], "train.loss_weight=\"learned\""});
  Learner a(simple, torch::kCPU), b(learned, torch::kCPU);
  const auto dataset = data::open_dataset(simple.data, 0);
  const data::Batch batch = data::Loader(*dataset, loader_options(simple)).next();
  const Step expected = step_with(a, batch);
  const Step first = step_with(b, batch);
  for (size_t i = 0; i < expected.gradients.size(); ++i)
    EXPECT_TRUE(first.gradients[i].equal(expected.gradients[i])) << "u begins at 0";

  {
    const torch::NoGradGuard no_grad;
    b.settings().uncertainty->parameters()[1].fill_(std::log(4.0));
  }
  const Step quarter = step_with(b, batch);
  for (size_t i = 0; i < expected.gradients.size(); ++i)
    EXPECT_TRUE(torch::allclose(4 * quarter.gradients[i], expected.gradients[i], 1e-4, 1e-7)) << i;
  EXPECT_TRUE(quarter.losses.per_sample.equal(expected.losses.per_sample)) << "it is logged";
  EXPECT_TRUE(torch::allclose(4 * quarter.losses.objective, expected.losses.per_sample, 1e-5, 0));
}

TEST(LearnedWeight, TrainsUWithTheNetwork) {
  const Experiment experiment = small_experiment(
      {"train.loss_weight=\"learned\"", "optimizer.lr=0.01", "optimizer.weight_decay=0.1"});
  const auto dataset = data::open_dataset(experiment.data, 0);
  data::Loader loader(*dataset, loader_options(experiment));
  Learner learner(experiment, torch::kCPU);
  const torch::Tensor t = torch::tensor({900}, torch::kLong);
  for (int64_t step = 1; step <= 60; ++step) learner.step_(loader.next(), step);
  // The loss falls below 1 at such t, and u follows.
  EXPECT_LT(learner.settings().uncertainty->at(t).item<double>(), -0.3);
  EXPECT_EQ(std::ssize(learner.snapshot().weights), std::ssize(learner.unet()->parameters()));
}

TEST(LearnedWeight, IsNotForTheBound) {
  EXPECT_THROW(small_experiment({"train.loss_weight=\"learned\"", "train.loss=\"vlb\""}),
               ConfigError);
}

}  // namespace
}  // namespace ddpm::train
