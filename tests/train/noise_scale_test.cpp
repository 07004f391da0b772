#include "ddpm/train/learner.h"
#include "ddpm/train/metrics.h"
#include "tests/train/small_experiment.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/utils.h>

namespace ddpm::train {
namespace {

torch::Tensor scalar(double value) { return torch::full({}, value, torch::kDouble); }

// E |G_B|^2 = |G|^2 + tr(Sigma) / B (McCandlish 2018, App. A.1).
TEST(NoiseScale, SolvesForBothParts) {
  NoiseScale scale(torch::kCPU);
  EXPECT_FALSE(scale.read());
  for (const int64_t size : {3, 24}) {  // of the small batches
    scale.add_({scalar(2.0 + 50.0 / static_cast<double>(size)), scalar(2.0 + 50.0 / 96), size, 96});
    const auto reading = scale.read();
    ASSERT_TRUE(reading);
    EXPECT_NEAR(reading->gradient, 2.0, 1e-12);
    EXPECT_NEAR(reading->noise, 50.0, 1e-11);
    EXPECT_NEAR(reading->scale(), 25.0, 1e-11);
  }
  scale.add_({scalar(NAN), scalar(1.0), 3, 96});
  EXPECT_NEAR(scale.read()->scale(), 25.0, 1e-11) << "left out";
}

// The loss |theta - x|^2 / 2 with x ~ N(mu, Sigma) has gradients with mean theta - mu and
// covariance Sigma.
TEST(NoiseScale, OfAQuadraticIsItsClosedForm) {
  constexpr int64_t kDimensions = 20, kParts = 8, kSize = 8;
  const torch::Tensor deviation = torch::linspace(0.5, 1.5, kDimensions, torch::kDouble);
  const double trace = deviation.square().sum().item<double>();
  NoiseScale scale(torch::kCPU);
  torch::manual_seed(2);
  for (int64_t i = 0; i < 400; ++i) {
    const torch::Tensor gradients =
        0.5 + deviation * torch::randn({kParts, kSize, kDimensions}, torch::kDouble);
    const torch::Tensor of_parts = gradients.mean(1);
    scale.add_(
        {of_parts.square().sum(1).mean(), of_parts.mean(0).square().sum(), kSize, kParts * kSize});
  }
  const auto reading = scale.read();
  // The average has the variance of 99 independent measurements; of one, |G|^2 has the relative
  // deviation 0.12, from 4 G' Sigma G / B + 2 tr(Sigma^2) / B^2 with B = 64. Four of these.
  EXPECT_NEAR(reading->gradient, 5.0, 0.05 * 5.0);
  EXPECT_NEAR(reading->noise, trace, 0.05 * trace);
  EXPECT_NEAR(reading->scale(), trace / 5.0, 0.08 * trace / 5.0);
}

// Steps are proportional to 1 + scale / B, images to B + scale (McCandlish 2018, Eq. 2.7).
TEST(NoiseScale, SaysWhatALargerBatchWouldDo) {
  EXPECT_EQ(batch_advice({1.0, 100.0}, 100),
            "gradient noise scale 100 images: batches of 200 instead of 100 would need 25 % fewer "
            "steps and 50 % more images");
  EXPECT_EQ(
      batch_advice({1.0, 1e6}, 10),
      "gradient noise scale 1,000,000 images: batches of 20 instead of 10 would need 50 % fewer "
      "steps and 0 % more images");
  EXPECT_EQ(
      batch_advice({-1.0, 100.0}, 10),
      "gradient noise scale: not known yet, as a batch of 10 hides the gradient in its noise");
}

struct Trained {
  explicit Trained(std::vector<std::string> changes = {}) {
    changes.insert(changes.end(), {"model.dropout=0.0", "train.batch_size=12"});
    experiment = small_experiment(changes);
    dataset = data::open_dataset(experiment.data, 0);
    learner = std::make_unique<Learner>(experiment, torch::kCPU);
    batch = data::Loader(*dataset, loader_options(experiment)).next();
  }
  Experiment experiment;
  std::shared_ptr<const data::Dataset> dataset;
  std::unique_ptr<Learner> learner;
  data::Batch batch;
};

double squared_norm_by_hand(nn::UNetImpl& unet, const StepSettings& settings,
                            const data::Batch& batch) {
  unet.zero_grad();
  unweighted_losses(unet, settings, batch).per_sample.mean().backward();
  double sum = 0.0;
  for (const torch::Tensor& p : unet.parameters())
    sum += p.grad().to(torch::kDouble).square().sum().item<double>();
  unet.zero_grad();
  return sum;
}

TEST(GradientNorms, AreThoseOfThePartsAndOfTheWhole) {
  for (const char* drawing : {"uniform", "stratified"}) {
    Trained s({std::string("train.t_sampling=\"") + drawing + "\""});
    nn::UNetImpl& unet = *s.learner->unet();
    StepSettings independent = s.learner->settings();
    independent.timesteps = TimestepDrawing::kUniform;
    const GradientNorms norms = gradient_norms(unet, s.learner->settings(), s.batch, 3);
    EXPECT_EQ(norms.small_size, 4);
    EXPECT_EQ(norms.large_size, 12);
    double small = 0.0;
    for (int64_t part = 0; part < 3; ++part)
      small += squared_norm_by_hand(unet, independent, slice(s.batch, 4 * part, 4)) / 3;
    const double large = squared_norm_by_hand(unet, independent, s.batch);
    EXPECT_NEAR(norms.small.item<double>(), small, 1e-4 * small);  // float32
    EXPECT_NEAR(norms.large.item<double>(), large, 1e-4 * large);
    for (const torch::Tensor& p : unet.parameters()) EXPECT_FALSE(p.grad().defined());
  }
}

TEST(GradientNorms, MeasuringThemLeavesTrainingAsItIs) {
  const std::vector<std::string> plain{"train.accumulate=2", "train.loss_weight=\"learned\""};
  auto measured = plain;
  measured.push_back("train.noise_scale_every=2");
  const Experiment a = small_experiment(plain), b = small_experiment(measured);  // with dropout
  Learner without(a, torch::kCPU), with(b, torch::kCPU);
  const auto dataset = data::open_dataset(a.data, 0);
  data::Loader loader(*dataset, loader_options(a));
  for (int64_t step = 1; step <= 5; ++step) {
    const data::Batch batch = loader.next();
    without.step_(batch, step);
    with.step_(batch, step);
    EXPECT_EQ(with.noise_scale().has_value(), step >= 2);
  }
  EXPECT_FALSE(without.noise_scale());
  const checkpoint::TrainingTensors x = without.snapshot(), y = with.snapshot();
  for (size_t i = 0; i < x.weights.size(); ++i) EXPECT_TRUE(x.weights[i].equal(y.weights[i])) << i;
  EXPECT_EQ(without.read_metrics().loss, with.read_metrics().loss);
}

TEST(GradientNorms, NeedTwoImages) {
  EXPECT_THROW(small_experiment({"train.noise_scale_every=1", "train.batch_size=1"}), ConfigError);
  const Experiment odd = small_experiment({"train.noise_scale_every=1", "train.batch_size=9"});
  Learner learner(odd, torch::kCPU);
  const auto dataset = data::open_dataset(odd.data, 0);
  learner.step_(data::Loader(*dataset, loader_options(odd)).next(), 1);  // three parts of three
  EXPECT_TRUE(learner.noise_scale());
}

}  // namespace
}  // namespace ddpm::train
