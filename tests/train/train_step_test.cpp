#include "ddpm/train/train_step.h"

#include "ddpm/base/rng.h"
#include "ddpm/kernels/elementwise.h"
#include "ddpm/nn/ema.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/nn/unet.h"
#include "ddpm/train/metrics.h"
#include "ddpm/train/optimizer.h"
#include "tests/nn/moved_unet.h"

#include <gtest/gtest.h>
#include <torch/cuda.h>
#include <torch/utils.h>

namespace ddpm::train::train_step_test {
namespace {

nn::UNet small_unet(torch::Dtype dtype = torch::kDouble) {
  nn::UNetConfig config = nn::small_config();
  return nn::moved_unet(config, dtype);
}

StepSettings settings(nn::Precision precision = nn::Precision::kFp64) {
  diffusion::DiffusionConfig config;
  config.schedule.timesteps = 50;
  return {diffusion::Diffusion(config), precision, torch::kCPU, 7};
}

data::Batch batch(int64_t first, int64_t count) {
  const torch::Tensor ids = torch::arange(first, first + count);
  const torch::Tensor pixels =
      (torch::arange(64).view({1, 1, 8, 8}) * 3 + ids.view({-1, 1, 1, 1}) * 11) % 256;
  return {pixels.to(torch::kByte), torch::full({count}, -1, torch::kLong), ids};
}

std::vector<torch::Tensor> gradients(const nn::UNet& unet) {
  std::vector<torch::Tensor> g;
  for (const auto& p : unet->parameters()) g.push_back(p.grad().clone());
  return g;
}

double largest_difference(const std::vector<torch::Tensor>& a,
                          const std::vector<torch::Tensor>& b) {
  double difference = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference = std::max(difference, (a[i] - b[i]).abs().max().item<double>());
  }
  return difference;
}

// A class-conditional network with 4 classes and a null class, number 4.
nn::UNet labelled_unet() {
  nn::UNetConfig config = small_unet()->config();
  config.image.classes = 4;
  config.class_conditional = config.null_class = true;
  return nn::moved_unet(config, torch::kDouble);
}

// Which class embeddings have a gradient after one step with that label dropout.
std::vector<bool> trained_classes(double label_dropout, int64_t count, int64_t label) {
  nn::UNet unet = labelled_unet();
  StepSettings s = settings();
  s.label_dropout = label_dropout;
  data::Batch b = batch(0, count);
  b.labels.fill_(label);
  accumulate_gradient(*unet, s, b, 1.0);
  const torch::Tensor gradient = unet->named_parameters()["class_embedding.weight"].grad();
  std::vector<bool> trained;
  for (int64_t i = 0; i < 5; ++i) trained.push_back(gradient[i].abs().max().item<double>() > 0);
  return trained;
}

// Ho and Salimans 2022, Algorithm 1, line 3.
TEST(LabelDropout, TrainsTheNullClassInstead) {
  using Trained = std::vector<bool>;
  EXPECT_EQ(trained_classes(0.0, 8, 2), (Trained{false, false, true, false, false}));
  EXPECT_EQ(trained_classes(1.0, 8, 2), (Trained{false, false, false, false, true}));
  EXPECT_EQ(trained_classes(0.5, 40, 2), (Trained{false, false, true, false, true}));
}

TEST(LabelDropout, DependsOnTheSampleAlone) {
  nn::UNet unet = labelled_unet();
  StepSettings s = settings();
  s.label_dropout = 0.3;
  data::Batch whole = batch(0, 400);
  whole.labels.fill_(1);
  const torch::NoGradGuard no_grad;
  const torch::Tensor together = unweighted_losses(*unet, s, whole).per_sample;
  const torch::Tensor part = unweighted_losses(*unet, s, slice(whole, 100, 8)).per_sample;
  EXPECT_TRUE(torch::allclose(together.narrow(0, 100, 8), part, 1e-12, 0.0));
  // 400 draws of probability 0.3: mean 120, deviation 9.2.
  s.label_dropout = 0.0;
  const torch::Tensor kept = unweighted_losses(*unet, s, whole).per_sample;
  const auto dropped = (together - kept).abs().gt(1e-9).sum().item<int64_t>();
  EXPECT_NEAR(static_cast<double>(dropped), 120, 37);
}

TEST(TrainStep, LossIsTheMeanSquaredErrorOfTheNoiseItDrew) {
  nn::UNet unet = small_unet();
  const StepSettings s = settings();
  const data::Batch b = batch(100, 4);
  const StepLosses losses = accumulate_gradient(*unet, s, b, 1.0);
  // Algorithm 1 by hand, from the numbers that the seed and the ids name.
  torch::Tensor t = torch::empty({4}, torch::kLong);
  kernels::fill_uniform_int_(t, rng_key(7, Purpose::kTimestep), b.ids, 1, 50);
  ASSERT_TRUE(torch::equal(losses.t, t));
  const torch::Tensor x0 = b.images.to(torch::kDouble) / 127.5 - 1.0;
  const torch::Tensor eps = torch::empty_like(x0);
  kernels::fill_normal_(eps, rng_key(7, Purpose::kTrainingNoise), b.ids);
  const torch::NoGradGuard no_grad;
  for (int64_t i = 0; i < 4; ++i) {
    const double alpha_bar = s.diffusion.schedule().alpha_bar(t[i].item<int64_t>());
    const torch::Tensor x_t = std::sqrt(alpha_bar) * x0[i] + std::sqrt(1 - alpha_bar) * eps[i];
    const torch::Tensor error =
        eps[i] - unet->forward(x_t.unsqueeze(0), t.slice(0, i, i + 1) - 1)[0];
    EXPECT_NEAR(losses.per_sample[i].item<double>(), error.square().mean().item<double>(), 1e-12);
  }
}

// One number per image and channel beside eps: eps ~ N(0, I + s^2 1 1^T) in each channel.
TEST(TrainStep, OffsetNoiseAddsOneNumberPerImageAndChannel) {
  nn::UNet unet = small_unet();
  StepSettings s = settings();
  s.offset_noise = 0.5;
  const data::Batch b = batch(100, 4);
  const torch::NoGradGuard no_grad;
  const StepLosses losses = unweighted_losses(*unet, s, b);
  const torch::Tensor x0 = b.images.to(torch::kDouble) / 127.5 - 1.0;
  const torch::Tensor plain = torch::empty_like(x0);
  torch::Tensor offset = torch::empty({4, x0.size(1), 1, 1}, torch::kDouble);
  kernels::fill_normal_(plain, rng_key(7, Purpose::kTrainingNoise), b.ids);
  kernels::fill_normal_(offset, rng_key(7, Purpose::kOffsetNoise), b.ids);
  const torch::Tensor eps = plain + 0.5 * offset;
  for (int64_t i = 0; i < 4; ++i) {
    const int64_t t = losses.t[i].item<int64_t>();
    const double alpha_bar = s.diffusion.schedule().alpha_bar(t);
    const torch::Tensor x_t = std::sqrt(alpha_bar) * x0[i] + std::sqrt(1 - alpha_bar) * eps[i];
    const torch::Tensor error = eps[i] - unet->forward(x_t.unsqueeze(0), torch::tensor({t - 1}))[0];
    EXPECT_NEAR(losses.per_sample[i].item<double>(), error.square().mean().item<double>(), 1e-12);
  }
  // Part of a batch has the same noise.
  const torch::Tensor part = unweighted_losses(*unet, s, slice(b, 2, 2)).per_sample;
  EXPECT_TRUE(torch::allclose(losses.per_sample.narrow(0, 2, 2), part, 1e-12, 0.0));
}

nn::UNet learned_unet() {
  nn::UNetConfig config = small_unet()->config();
  config.learned_variance = true;
  return nn::moved_unet(config, torch::kDouble);
}

// Ho 2020, Eq. 12: for t >= 2 the term is beta^2 / (2 sigma^2 alpha (1 - alpha_bar)) |eps - eps_hat|^2
// and a constant; here per dimension, in bits and times T.
TEST(Objective, VlbOfAFixedVarianceHasTheDerivedWeights) {
  StepSettings s = settings();
  s.objective = Objective::kVlb;
  const torch::Tensor all = draw_timesteps(s, torch::arange(100, 112));
  ASSERT_GT(all.min().item<int64_t>(), 1) << "the ids must have no t = 1";
  for (const auto variance : {diffusion::ModelVariance::kSmall, diffusion::ModelVariance::kLarge}) {
    s.variance = variance;
    nn::UNet unet = small_unet();
    accumulate_gradient(*unet, s, batch(100, 12), 1.0);
    const auto of_bound = gradients(unet);

    StepSettings simple = settings();
    const diffusion::Schedule schedule = simple.diffusion.schedule();
    const auto weight = [schedule, variance](const torch::Tensor& t) {
      std::vector<double> w;
      for (int64_t i = 0; i < t.size(0); ++i) {
        const int64_t at = t[i].item<int64_t>();
        const double beta = schedule.beta(at);
        const double sigma2 =
            variance == diffusion::ModelVariance::kLarge ? beta : schedule.posterior_variance(at);
        w.push_back(50 * beta * beta /
                    (2 * sigma2 * schedule.alpha(at) * schedule.one_minus_alpha_bar(at)) /
                    std::log(2.0));
      }
      return torch::tensor(w, torch::kDouble);
    };
    simple.diffusion = diffusion::Diffusion(schedule, diffusion::Prediction::kEpsilon, weight);
    unet->zero_grad();
    accumulate_gradient(*unet, simple, batch(100, 12), 1.0);
    const auto expected = gradients(unet);
    double scale = 0.0;
    for (const auto& g : expected) scale = std::max(scale, g.abs().max().item<double>());
    EXPECT_LT(largest_difference(of_bound, expected), 1e-9 * scale);
  }
}

// The mean's outputs get Ho's gradient, the variance's outputs one of their own.
TEST(Objective, HybridLeavesTheMeanToTheSimpleLoss) {
  nn::UNet unet = learned_unet();
  const auto last_layer = [&](Objective objective) {
    StepSettings s = settings();
    s.objective = objective;
    s.variance = diffusion::ModelVariance::kLearned;
    unet->zero_grad();
    const StepLosses losses = accumulate_gradient(*unet, s, batch(0, 8), 1.0);
    EXPECT_EQ(losses.per_sample.size(0), 8);
    return unet->named_parameters()["conv_out.bias"].grad().clone();
  };
  const torch::Tensor simple = last_layer(Objective::kSimple);
  const torch::Tensor hybrid = last_layer(Objective::kHybrid);
  const torch::Tensor bound = last_layer(Objective::kVlb);
  ASSERT_EQ(simple.size(0), 2);
  EXPECT_EQ(simple[0].item<double>(), hybrid[0].item<double>());
  EXPECT_EQ(simple[1].item<double>(), 0.0);
  EXPECT_NE(hybrid[1].item<double>(), 0.0);
  // 0.001 T of T times the bound.
  EXPECT_NEAR(hybrid[1].item<double>(), 0.001 * bound[1].item<double>(),
              1e-12 * std::abs(bound[1].item<double>()));
}

TEST(Objective, HybridLearnsTheVariance) {
  nn::UNet unet = learned_unet();
  unet->to(torch::kFloat);
  StepSettings s = settings(nn::Precision::kFp32);
  s.objective = Objective::kVlb;
  s.variance = diffusion::ModelVariance::kLearned;
  const auto bits = [&] {  // of one batch, by the gradient's own number
    const torch::NoGradGuard no_grad;
    const data::Batch b = batch(0, 32);
    const torch::Tensor x0 = b.images.to(torch::kFloat) / 127.5 - 1.0;
    const torch::Tensor t = draw_timesteps(s, b.ids);
    torch::Tensor eps = torch::empty_like(x0);
    kernels::fill_normal_(eps, rng_key(9, Purpose::kTrainingNoise), b.ids);
    const torch::Tensor x_t = s.diffusion.noised(x0, t, eps);
    return diffusion::variational_term(s.diffusion, s.variance, false, unet->forward(x_t, t - 1),
                                       x0, x_t, t)
        .mean()
        .item<double>();
  };
  s.objective = Objective::kHybrid;
  Optimizer optimizer(unet->parameters(), {});
  const double before = bits();
  for (int64_t step = 1; step <= 60; ++step) {
    unet->zero_grad();
    accumulate_gradient(*unet, s, batch(16 * step, 16), 1.0);
    optimizer.step_(2e-3);
  }
  EXPECT_LT(bits(), 0.9 * before);
}

// What the network reads in training is what it reads in sampling, and its target what it predicts.
TEST(TrainStep, TrainsTheParameterizationThatSamplingReads) {
  for (const auto& [kind, prediction] :
       {std::pair(diffusion::ScheduleKind::kFlow, diffusion::Prediction::kFlow),
        {diffusion::ScheduleKind::kEdm, diffusion::Prediction::kEdm}}) {
    const diffusion::Diffusion diffusion(diffusion::Schedule({.kind = kind, .timesteps = 50}),
                                         prediction);
    StepSettings s = settings();
    s.diffusion = diffusion;
    nn::UNet unet = small_unet();
    const data::Batch b = batch(3, 4);
    const torch::NoGradGuard no_grad;
    const StepLosses losses = unweighted_losses(*unet, s, b);
    const torch::Tensor x0 = b.images.to(torch::kDouble) / 127.5 - 1;
    torch::Tensor eps = torch::empty_like(x0);
    kernels::fill_normal_(eps, rng_key(s.seed, Purpose::kTrainingNoise), b.ids);
    const torch::Tensor x_t = diffusion.noised(x0, losses.t, eps);
    const auto network = nn::make_denoiser(unet, diffusion, nn::Precision::kFp64);
    const diffusion::Estimate found = diffusion.estimate(network(x_t, losses.t), x_t, losses.t);
    const torch::Tensor said = diffusion.target(found.x0, found.eps, x_t, losses.t);
    const torch::Tensor want = diffusion.target(x0, eps, x_t, losses.t);
    EXPECT_TRUE(torch::allclose(losses.per_sample, (said - want).square().flatten(1).mean(1), 1e-9))
        << config::to_string(prediction);
  }
}

TEST(TrainStep, AccumulationOverMicroBatchesEqualsTheFullBatch) {
  nn::UNet unet = small_unet();
  const data::Batch whole = batch(0, 6);
  accumulate_gradient(*unet, settings(), whole, 1.0);
  const auto full = gradients(unet);
  unet->zero_grad();
  for (int64_t round = 0; round < 3; ++round) {
    accumulate_gradient(*unet, settings(), slice(whole, 2 * round, 2), 1.0 / 3.0);
  }
  double scale = 0.0;
  for (const auto& g : full) scale = std::max(scale, g.abs().max().item<double>());
  EXPECT_GT(scale, 1e-3) << "gradients too small for the comparison to mean anything";
  EXPECT_LT(largest_difference(full, gradients(unet)), 1e-13 * std::max(1.0, scale));
}

TEST(TrainStep, WithoutDropoutIsTheSameTwice) {
  nn::UNet unet = small_unet();
  accumulate_gradient(*unet, settings(), batch(0, 4), 1.0);
  const auto first = gradients(unet);
  unet->zero_grad();
  accumulate_gradient(*unet, settings(), batch(0, 4), 1.0);
  EXPECT_EQ(largest_difference(first, gradients(unet)), 0.0);
}

TEST(TrainStep, Bf16AutocastFollowsFp32) {
  nn::UNet unet = small_unet(torch::kFloat);
  const auto full = accumulate_gradient(*unet, settings(nn::Precision::kFp32), batch(0, 4), 1.0);
  const auto expected = gradients(unet);
  unet->zero_grad();
  const auto half = accumulate_gradient(*unet, settings(nn::Precision::kBf16), batch(0, 4), 1.0);
  EXPECT_EQ(half.per_sample.scalar_type(), torch::kFloat) << "the loss is taken in float32";
  // bfloat16 keeps 8 bits: a relative error of 2^-8 an operation, averaged over many.
  EXPECT_TRUE(torch::allclose(half.per_sample, full.per_sample, 0.05, 0.0));
  const auto actual = gradients(unet);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(actual[i].scalar_type(), torch::kFloat);
    const double cosine =
        ((actual[i] * expected[i]).sum() / (actual[i].norm() * expected[i].norm())).item<double>();
    if (expected[i].norm().item<double>() <= 1e-4) continue;
    EXPECT_GT(cosine, 0.97) << "parameter " << i;
  }
}

TEST(TrainStep, LearnsOneImageByHeart) {
  nn::UNet unet = small_unet(torch::kFloat);
  const StepSettings s = settings(nn::Precision::kFp32);
  Optimizer optimizer(unet->parameters(), {});
  MetricsAccumulator metrics(torch::kCPU, 50);
  std::vector<double> loss;
  for (int64_t step = 1; step <= 150; ++step) {
    data::Batch b = batch(0, 16);
    b.images = b.images[0].expand({16, 1, 8, 8});
    b.ids = torch::arange(16) + 16 * step;
    unet->zero_grad();
    metrics.add_losses(accumulate_gradient(*unet, s, b, 1.0));
    metrics.add_update(optimizer.step_(3e-3));
    if (step % 50 == 0) loss.push_back(metrics.read().loss);
  }
  EXPECT_LT(loss[2], 0.5 * loss[0]) << loss[0] << " then " << loss[1] << " then " << loss[2];
}

TEST(Metrics, AverageBySampleAndByQuartileOfT) {
  MetricsAccumulator metrics(torch::kCPU, 100);
  metrics.add_losses({torch::tensor({1.0, 2.0, 3.0, 6.0}), torch::tensor({1, 25, 26, 100})});
  metrics.add_update({torch::tensor(4.0), torch::tensor(0.0)});
  metrics.add_losses({torch::full({1}, NAN), torch::tensor({60})});
  metrics.add_update({torch::tensor(INFINITY), torch::tensor(1.0)});
  const MetricsReading reading = metrics.read();
  EXPECT_DOUBLE_EQ(reading.loss, 3.0);
  EXPECT_DOUBLE_EQ(reading.loss_by_quartile[0], 1.5);
  EXPECT_DOUBLE_EQ(reading.loss_by_quartile[1], 3.0);
  EXPECT_TRUE(std::isnan(reading.loss_by_quartile[2]));
  EXPECT_DOUBLE_EQ(reading.loss_by_quartile[3], 6.0);
  EXPECT_DOUBLE_EQ(reading.grad_norm, 4.0);
  EXPECT_EQ(reading.skipped, 1);
  EXPECT_EQ(reading.skipped_in_a_row, 1);
  metrics.add_update({torch::tensor(INFINITY), torch::tensor(1.0)});
  EXPECT_EQ(metrics.read().skipped_in_a_row, 2);
  metrics.add_update({torch::tensor(1.0), torch::tensor(0.0)});
  EXPECT_EQ(metrics.read().skipped_in_a_row, 0);
}

TEST(TrainStepGpu, GradientsEqualTheCpus) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA GPU here";
  const nn::ArithmeticGuard exact(nn::Precision::kFp32, /*deterministic=*/true);  // no TF32
  nn::UNet unet = small_unet(torch::kFloat);
  accumulate_gradient(*unet, settings(nn::Precision::kFp32), batch(0, 4), 1.0);
  const auto expected = gradients(unet);
  unet->zero_grad();
  unet->to(torch::kCUDA);
  StepSettings s = settings(nn::Precision::kFp32);
  s.device = torch::kCUDA;
  accumulate_gradient(*unet, s, batch(0, 4), 1.0);
  const auto actual = gradients(unet);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(torch::allclose(actual[i].cpu(), expected[i], 1e-3, 1e-4)) << "parameter " << i;
  }
}

}  // namespace
}  // namespace ddpm::train::train_step_test
