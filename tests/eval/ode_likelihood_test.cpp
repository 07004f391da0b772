#include "ddpm/diffusion/schedule.h"
#include "ddpm/eval/likelihood.h"
#include "ddpm/eval/likelihood_report.h"
#include "src/eval/flow.h"
#include "tests/eval/gaussian_images.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include <gtest/gtest.h>
#include <torch/utils.h>

namespace ddpm::eval {
namespace {

constexpr uint64_t kSeed = 5;

// The image with the noise that the measurement dequantises it with, float64, flat.
torch::Tensor dequantised(const data::Dataset& data, int64_t index) {
  const torch::Tensor pixels = data.get(index).image.to(torch::kDouble);
  const torch::Tensor noise = torch::empty_like(pixels);
  kernels::fill_uniform_(noise, rng_key(kSeed, Purpose::kDequantisation),
                         static_cast<uint64_t>(index), 1.0 / 255.0);
  return (pixels / 127.5 - 1.0 + noise).flatten();
}

// 1, 1 + T / steps, ..., T + 1 of T + 1 timesteps.
std::vector<int64_t> even_times(int64_t timesteps, int64_t steps) {
  std::vector<int64_t> times;
  for (int64_t t = 1; t <= timesteps; t += (timesteps - 1) / steps) times.push_back(t);
  return times;
}

double log_normal(double x, double mean, double variance) {
  return -0.5 * ((x - mean) * (x - mean) / variance + std::log(2 * M_PI * variance));
}

// log p of y at t = 1, if the flow is that of N(mean, variance): it multiplies the distance from the
// mean by the ratio of the standard deviations, and ends in N(0, 1), not in its own x_T.
double flow_log_density(const Schedule& schedule, double y, double mean, double variance) {
  const int64_t last = schedule.timesteps();
  const auto signal = [&](int64_t t) { return std::sqrt(schedule.alpha_bar(t)); };
  const auto spread = [&](int64_t t) {
    return schedule.alpha_bar(t) * variance + 1.0 - schedule.alpha_bar(t);
  };
  const double stretch = std::sqrt(spread(last) / spread(1));
  const double x_T = signal(last) * mean + signal(1) * (y - mean) * stretch;
  return log_normal(x_T, 0.0, 1.0) + std::log(stretch * signal(1));
}

double bits_of(double log_density, double dimensions) {
  return -log_density / (dimensions * std::log(2.0)) + std::log2(255.0 / 2.0);
}

DenoiserOf always(const diffusion::Denoiser& denoiser) {
  return [=](const torch::Tensor&, const torch::Tensor&, const torch::Tensor&) { return denoiser; };
}

OdeLikelihood measured(const diffusion::Denoiser& denoiser, const Schedule& schedule,
                       const data::Dataset& data, OdeOptions options) {
  if (options.seed == 0) options.seed = kSeed;
  options.precision = nn::Precision::kFp64;
  return measure_ode_likelihood(always(denoiser),
                                diffusion::Diffusion(schedule, Prediction::kEpsilon), data,
                                all_of(data), options);
}

// Rademacher vectors are exact here: the Jacobian is diagonal.
TEST(OdeLikelihood, OfGaussianDataConvergesWithOrderTwo) {
  const Schedule schedule({.timesteps = 1025});
  const GaussianImages images(8);
  double truth = 0.0;
  for (int64_t i = 0; i < images.size(); ++i) {
    const torch::Tensor y = dequantised(images, i);
    double log_density = 0.0;
    for (int64_t p = 0; p < y.numel(); ++p)
      log_density += flow_log_density(schedule, y[p].item<double>(), kMean, kVariance);
    truth += bits_of(log_density, 64.0) / static_cast<double>(images.size());
  }
  const auto denoiser = [&](const torch::Tensor& x_t, const torch::Tensor& t) {
    return best_eps(schedule, x_t, t);
  };
  double before = 0.0;
  for (const int64_t steps : {64, 128, 256, 512, 1024}) {
    const OdeLikelihood found =
        measured(denoiser, schedule, images, {.times = even_times(1025, steps), .batch = 5});
    EXPECT_EQ(found.calls, 2 * steps + 1);
    EXPECT_NEAR(found.total.value, found.prior.value + found.volume.value, 1e-12);
    const double error = std::abs(found.total.value - truth);
    if (before > 0) {
      EXPECT_GT(before / error, 3.5) << steps;
      EXPECT_LT(before / error, 4.5) << steps;
    }
    before = error;
  }
  EXPECT_LT(before, 1e-3);
}

// Images of one pixel, one of each level.
class Levels final : public data::Dataset {
 public:
  int64_t size() const override { return 256; }
  data::ImageShape shape() const override { return {1, 1, 1}; }
  int64_t class_count() const override { return 0; }
  std::vector<std::string> class_names() const override { return {}; }
  std::string description() const override { return "levels"; }
  data::Example get(int64_t index) const override {
    return {torch::full({1, 1, 1}, index, torch::kByte), -1};
  }
};

// Two narrow components: the flow is not linear.
struct Mixture {
  std::vector<double> weights{0.3, 0.7}, means{-0.5, 0.4};
  double variance = 0.01;

  torch::Tensor eps(const Schedule& schedule, const torch::Tensor& x_t, int64_t t) const {
    const double signal = std::sqrt(schedule.alpha_bar(t)), noise = 1.0 - schedule.alpha_bar(t);
    const double spread = signal * signal * variance + noise;
    std::vector<torch::Tensor> logits, estimates;
    for (size_t i = 0; i < weights.size(); ++i) {
      const torch::Tensor off = x_t - signal * means[i];
      logits.push_back(std::log(weights[i]) - off.square() / (2 * spread));
      estimates.push_back(means[i] + signal * variance / spread * off);
    }
    const torch::Tensor x0 = (torch::stack(logits).softmax(0) * torch::stack(estimates)).sum(0);
    return (x_t - signal * x0) / std::sqrt(noise);
  }
  double density(double y, double more_variance) const {
    double sum = 0.0;
    for (size_t i = 0; i < weights.size(); ++i)
      sum += weights[i] * std::exp(log_normal(y, means[i], variance + more_variance));
    return sum;
  }
};

// Against the density itself, of which the flow knows only the denoiser.
TEST(OdeLikelihood, OfAMixtureIsItsDensityAndIntegratesToOne) {
  // Cosine: x_T is N(0, 1) to 1e-9.
  const Schedule schedule({.kind = diffusion::ScheduleKind::kCosine, .timesteps = 1000});
  const Mixture mixture;
  const Levels levels;
  const auto denoiser = [&](const torch::Tensor& x_t, const torch::Tensor& t) {
    return mixture.eps(schedule, x_t, t[0].item<int64_t>());
  };
  const auto plan = sample::timestep_plan(1000, 1000, sample::Spacing::kLeading);
  const OdeLikelihood found =
      measured(denoiser, schedule, levels, {.times = flow_times(schedule, plan), .batch = 256});
  const double sigma = diffusion::noise_level(schedule, 1);
  ASSERT_EQ(found.bits.size(), 256u);
  double sum = 0.0;
  for (int64_t level = 0; level < 256; ++level) {
    const double y = dequantised(levels, level).item<double>();
    const double expected = mixture.density(y, sigma * sigma);
    sum += std::exp2(-found.bits[static_cast<size_t>(level)]);
    if (expected < 0.01) continue;  // three deviations away
    EXPECT_NEAR(found.bits[static_cast<size_t>(level)], bits_of(std::log(expected), 1.0), 3e-3)
        << level;
  }
  EXPECT_NEAR(sum, 1.0, 2e-3) << "one random point of each level, that is a Riemann sum";
}

// Two pixels with a correlation: the Jacobian is not diagonal.
class Pairs final : public data::Dataset {
 public:
  int64_t size() const override { return 4; }
  data::ImageShape shape() const override { return {1, 1, 2}; }
  int64_t class_count() const override { return 0; }
  std::vector<std::string> class_names() const override { return {}; }
  std::string description() const override { return "pairs"; }
  data::Example get(int64_t index) const override {
    return {torch::tensor({130 + 10 * index, 90 + 20 * index}, torch::kByte).view({1, 1, 2}), -1};
  }
};

TEST(OdeLikelihood, ProbesEstimateTheExactTraceWithoutBias) {
  const Schedule schedule({.timesteps = 1000});
  const Pairs pairs;
  // Along (1, 1) and (1, -1) the pixels are independent, with these variances.
  const std::vector<double> variances{0.3, 0.02};
  const auto denoiser = [&](const torch::Tensor& x_t, const torch::Tensor& t) {
    const int64_t time = t[0].item<int64_t>();
    const double signal2 = schedule.alpha_bar(time), noise2 = 1.0 - signal2;
    const torch::Tensor mean = 0.5 * x_t.sum(3, true), difference = x_t - mean;
    return std::sqrt(noise2) * (mean / (signal2 * variances[0] + noise2) +
                                difference / (signal2 * variances[1] + noise2));
  };
  double truth = 0.0;
  for (int64_t i = 0; i < pairs.size(); ++i) {
    const torch::Tensor y = dequantised(pairs, i);
    const double a = y[0].item<double>(), b = y[1].item<double>();
    truth +=
        0.25 * bits_of(flow_log_density(schedule, (a + b) / std::sqrt(2.0), 0, variances[0]) +
                           flow_log_density(schedule, (a - b) / std::sqrt(2.0), 0, variances[1]),
                       2.0);
  }
  const std::vector<int64_t> times =
      flow_times(schedule, sample::timestep_plan(1000, 1000, sample::Spacing::kLeading));
  const double exact =
      measured(denoiser, schedule, pairs, {.times = times, .probes = 0}).total.value;
  EXPECT_NEAR(exact, truth, 5e-3);
  // The dequantisation is that of the seed, so the probes alone differ.
  double sum = 0.0, squares = 0.0;
  constexpr int kRuns = 24;
  for (int run = 0; run < kRuns; ++run) {
    const auto seed = static_cast<uint64_t>(100 + run);
    const auto bits = [&](int64_t probes) {
      return measured(denoiser, schedule, pairs,
                      {.times = {1, 5, 20, 60, 150, 1000}, .probes = probes, .seed = seed})
          .total.value;
    };
    const double error = bits(2) - bits(0);
    sum += error / kRuns;
    squares += error * error / kRuns;
  }
  const double error = std::sqrt((squares - sum * sum) / kRuns);
  EXPECT_GT(error, 1e-4) << "probes are random";
  EXPECT_NEAR(sum, 0.0, 4.0 * error);
}

TEST(Flow, ExactTraceIsTheMeanOverAllSignVectors) {
  constexpr int64_t kPixels = 8;
  const torch::Tensor weight = normal({kPixels, kPixels}, 3);
  const Schedule schedule({.timesteps = 10});
  const Flow flow(
      [&](const torch::Tensor& x_t, const torch::Tensor&) {
        return x_t.flatten(1).matmul(weight.t()).tanh().view(x_t.sizes());
      },
      diffusion::Diffusion(schedule, Prediction::kEpsilon));
  const torch::Tensor x = normal({3, 2, 2, 2}, 4);
  const Slope exact = flow.slope(x, 4, unit_vectors(x));
  const torch::Tensor eps = x.flatten(1).matmul(weight.t()).tanh();
  EXPECT_TRUE(torch::allclose(exact.eps, eps.view(x.sizes())));
  const torch::Tensor closed_form = ((1 - eps.square()) * weight.diagonal()).sum(1);
  EXPECT_LT((exact.trace - closed_form).abs().max().item<double>(), 1e-12);
  const auto signs = [&](int64_t k) {
    torch::Tensor v = torch::empty({kPixels}, torch::kDouble);
    for (int64_t p = 0; p < kPixels; ++p) v[p] = (k >> p & 1) ? 1.0 : -1.0;
    return v.view({1, 2, 2, 2}).expand_as(x);
  };
  const Slope mean = flow.slope(x, 4, {1 << kPixels, 1.0 / (1 << kPixels), signs});
  EXPECT_LT((mean.trace - closed_form).abs().max().item<double>(), 1e-12);
  const Slope one = flow.slope(x, 4, {1, 1.0, signs});
  EXPECT_GT((one.trace - closed_form).abs().max().item<double>(), 0.1);
}

// A U-Net with random weights, in float64.
nn::UNet small_unet(const nn::UNetConfig& config) {
  nn::UNet unet(config);
  unet->to(torch::kDouble);
  const torch::NoGradGuard no_grad;
  uint64_t seed = 1;
  for (torch::Tensor& parameter : unet->parameters())
    parameter.add_(0.2 * normal({parameter.numel()}, seed++).view(parameter.sizes()));
  unet->eval();
  return unet;
}

TEST(OdeLikelihood, OfANetworkHasTheTraceOfItsDifferenceQuotients) {
  LikelihoodSubject subject{.model = {}, .path = "", .weights_name = "", .data = {}, .images = {0}};
  nn::UNetConfig& config = subject.model.unet;
  config.image = {.channels = 1, .height = 8, .width = 8};
  config.channels = 8;
  config.groups = 4;
  config.channel_multipliers = {1, 2};
  config.blocks = 1;
  config.attention_resolutions = {4};
  subject.model.diffusion.schedule.timesteps = 50;
  subject.data.images = std::make_shared<GaussianImages>(1);
  const nn::UNet unet = small_unet(config);
  const OdeLikelihood found = measure_ode_likelihood(
      unet, subject,
      {.times = {1, 50}, .probes = 0, .seed = kSeed, .precision = nn::Precision::kFp64});
  for (const torch::Tensor& parameter : unet->parameters()) {
    EXPECT_TRUE(parameter.requires_grad()) << "as before";
    EXPECT_FALSE(parameter.grad().defined());
  }

  const Schedule schedule(subject.model.diffusion.schedule);
  const diffusion::Denoiser denoiser =
      nn::make_denoiser(unet, diffusion::Diffusion(subject.model.diffusion), nn::Precision::kFp64);
  const double signal = std::sqrt(schedule.alpha_bar(1));
  const torch::Tensor x = signal * dequantised(*subject.data.images, 0).view({1, 1, 8, 8});
  const torch::Tensor t = torch::ones({1}, torch::kLong);
  constexpr double kStep = 1e-5;
  double trace = 0.0;
  for (int64_t p = 0; p < 64; ++p) {
    torch::Tensor unit = torch::zeros({64}, torch::kDouble);
    unit[p] = kStep;
    unit = unit.view(x.sizes());
    const torch::Tensor difference = denoiser(x + unit, t) - denoiser(x - unit, t);
    trace += difference.flatten()[p].item<double>() / (2 * kStep);
  }
  const double expected = std::sqrt(1 - schedule.alpha_bar(1)) * trace / 64.0;
  EXPECT_GT(std::abs(expected), 1e-4);
  EXPECT_NEAR(found.points[0].divergence.value, expected, 1e-6 * std::abs(expected));
}

TEST(OdeLikelihood, TheFlowGoesFromOneToTheLastTimestepWithSignal) {
  const Schedule schedule({.timesteps = 100});
  const auto times = [](const Schedule& of, std::vector<int64_t> ascending) {
    return flow_times(of, sample::jumps_of(ascending));
  };
  EXPECT_EQ(times(schedule, {20, 40}), (std::vector<int64_t>{1, 20, 40, 100}));
  EXPECT_EQ(times(schedule, {1, 100}), (std::vector<int64_t>{1, 100}));
  const Schedule zero({.timesteps = 100, .zero_terminal_snr = true});
  EXPECT_EQ(times(zero, {50, 100}), (std::vector<int64_t>{1, 50, 99}));
  EXPECT_EQ(flow_times(Schedule({.timesteps = 1}), {{1, 0}}), std::vector<int64_t>{1});
}

TEST(OdeLikelihood, ItsTablesHaveALineEach) {
  const Schedule schedule({.timesteps = 100});
  const auto denoiser = [&](const torch::Tensor& x_t, const torch::Tensor& t) {
    return best_eps(schedule, x_t, t);
  };
  const OdeLikelihood found =
      measured(denoiser, schedule, GaussianImages(3), {.times = {1, 50, 100}});
  const std::string by_time = to_csv(found), by_image = images_to_csv(found);
  EXPECT_EQ(std::count(by_time.begin(), by_time.end(), '\n'), 4);
  EXPECT_EQ(by_time.rfind("t,sigma,divergence", 0), 0u);
  EXPECT_EQ(std::count(by_image.begin(), by_image.end(), '\n'), 4);
  EXPECT_NEAR((found.bits[0] + found.bits[1] + found.bits[2]) / 3, found.total.value, 1e-12);
}

}  // namespace
}  // namespace ddpm::eval
