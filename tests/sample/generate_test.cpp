#include "ddpm/sample/generate.h"

#include "ddpm/base/error.h"
#include "ddpm/base/rng.h"
#include "ddpm/kernels/elementwise.h"
#include "tests/sample/exact_denoiser.h"

#include <algorithm>
#include <cmath>
#include <string>

#include <gtest/gtest.h>
#include <torch/cuda.h>
#include <torch/types.h>

namespace ddpm::sample::generate_test {
namespace {

using diffusion::Prediction;

const diffusion::Schedule kSchedule{diffusion::ScheduleConfig{.timesteps = 40, .beta_end = 0.3}};

GenerateOptions options_of(std::vector<int64_t> images, int64_t batch) {
  GenerateOptions options;
  options.images = std::move(images);
  options.channels = 2;
  options.height = 3;
  options.width = 5;
  options.batch = batch;
  options.seed = 3;
  return options;
}

SampleConfig noisy(int64_t steps) {
  SampleConfig config;
  config.steps = steps;
  return config;
}

torch::Tensor drawn(const SampleConfig& config, const GenerateOptions& options) {
  std::vector<torch::Tensor> batches;
  generate(gaussian_denoiser(kSchedule, 0.1, 0.2),
           diffusion::Diffusion(kSchedule, Prediction::kEpsilon), config, options,
           [&](int64_t first, const torch::Tensor& batch) {
             EXPECT_EQ(first, static_cast<int64_t>(batches.size()) * options.batch);
             batches.push_back(batch);
           });
  return torch::cat(batches);
}

// float32 rounding over a few dozen steps: vectorised loops round their tails in another way.
bool same(const torch::Tensor& a, const torch::Tensor& b) {
  return torch::allclose(a, b, 1e-5, 1e-5);
}

TEST(ImagesOfRank, EveryImageIsDrawnOnceInTheBatchesOfASingleProcess) {
  const std::vector<int64_t> images = image_range(100, 23);
  std::vector<int64_t> seen;
  for (int64_t rank = 0; rank < 3; ++rank) {
    const std::vector<int64_t> own = images_of_rank(images, 4, rank, 3);
    for (size_t i = 0; i < own.size(); i += 4)  // a batch begins where one of a single process does
      EXPECT_EQ((own[i] - 100) % 4, 0);
    seen.insert(seen.end(), own.begin(), own.end());
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, images);
  EXPECT_EQ(images_of_rank(images, 4, 0, 1), images);
}

TEST(Generate, AnImageDependsOnItsIndexNotOnItsCompany) {
  for (const SampleConfig& config : {noisy(0), noisy(7)}) {
    const torch::Tensor all = drawn(config, options_of(image_range(0, 10), 10));
    for (const int64_t batch : {1, 3, 4, 64}) {
      EXPECT_TRUE(same(drawn(config, options_of(image_range(0, 10), batch)), all)) << batch;
    }
    const torch::Tensor few = drawn(config, options_of({7, 2}, 2));
    EXPECT_TRUE(same(few[0], all[7]));
    EXPECT_TRUE(same(few[1], all[2]));
    EXPECT_FALSE(same(all[7], all[2]));
  }
}

TEST(Generate, SeedsDiffer) {
  GenerateOptions options = options_of(image_range(0, 2), 2);
  const torch::Tensor one = drawn(noisy(5), options);
  options.seed = 4;
  EXPECT_FALSE(same(drawn(noisy(5), options), one));
}

TEST(Generate, DdimWithoutNoiseIsAFunctionOfXT) {
  SampleConfig config = noisy(9);
  config.method = kDdim;
  GenerateOptions options = options_of(image_range(0, 4), 4);
  options.initial_noise = torch::randn({4, 2, 3, 5});
  const torch::Tensor one = drawn(config, options);
  options.seed = 99;
  EXPECT_TRUE(torch::equal(drawn(config, options), one));
  config.eta = 0.5;
  const torch::Tensor noisy_one = drawn(config, options);
  options.seed = 3;
  EXPECT_FALSE(same(drawn(config, options), noisy_one));
}

TEST(Generate, CallsTheNetworkExactlySTimesABatchForEveryS) {
  for (const auto spacing :
       {Spacing::kLeading, Spacing::kTrailing, Spacing::kLinspace, Spacing::kQuadratic}) {
    for (int64_t steps = 1; steps <= 40; ++steps) {
      int64_t calls = 0, last_t = 41;
      const auto counting = [&](const torch::Tensor& x, const torch::Tensor& t) {
        ++calls;
        EXPECT_EQ(t.scalar_type(), torch::kInt64);
        EXPECT_EQ(t.sizes(), std::vector<int64_t>{x.size(0)});
        EXPECT_TRUE((t == t[0]).all().item<bool>());
        EXPECT_LT(t[0].item<int64_t>(), last_t);
        last_t = t[0].item<int64_t>();
        return torch::zeros_like(x);
      };
      SampleConfig config = noisy(steps);
      config.spacing = spacing;
      const auto result =
          generate(counting, diffusion::Diffusion(kSchedule, Prediction::kEpsilon), config,
                   options_of({0, 1}, 2), [](int64_t, const torch::Tensor&) {});
      EXPECT_EQ(calls, steps);
      EXPECT_EQ(result.network_calls, steps);
      EXPECT_EQ(result.images, 2);
    }
  }
}

TEST(Generate, ZeroStepsMeansAllOfT) {
  const diffusion::Schedule schedule({});
  int64_t calls = 0;
  const auto counting = [&](const torch::Tensor& x, const torch::Tensor&) {
    ++calls;
    return torch::zeros_like(x);
  };
  const auto result = generate(counting, diffusion::Diffusion(schedule, Prediction::kEpsilon),
                               noisy(0), options_of({0}, 1), [](int64_t, const torch::Tensor&) {});
  EXPECT_EQ(calls, 1000);
  EXPECT_EQ(result.network_calls, 1000);
}

TEST(Generate, NoiseIsTheSeedsStreamsByImageAndPlanPosition) {
  // What the header promises, taken from the streams by hand and given back as outside noise.
  const GenerateOptions plain = options_of({4, 9, 1}, 2);
  GenerateOptions given = plain;
  given.seed = 1000;
  const torch::Tensor ids = torch::tensor(plain.images, torch::kInt64);
  given.initial_noise = torch::empty({3, 2, 3, 5});
  kernels::fill_normal_(given.initial_noise, rng_key(3, Purpose::kInitialNoise), ids);
  given.step_noise = torch::empty({8, 3, 2, 3, 5});
  for (uint32_t k = 0; k < 8; ++k) {
    const torch::Tensor z = given.step_noise[k];
    kernels::fill_normal_(z, rng_key(3, Purpose::kSamplerNoise), ids, k);
  }
  EXPECT_TRUE(same(drawn(noisy(8), given), drawn(noisy(8), plain)));
}

TEST(Generate, LastStepIgnoresItsNoise) {
  GenerateOptions options = options_of({0, 1}, 2);
  options.step_noise = torch::randn({8, 2, 2, 3, 5});
  const torch::Tensor one = drawn(noisy(8), options);
  options.step_noise[7].fill_(1e6);
  EXPECT_TRUE(torch::equal(drawn(noisy(8), options), one));
  options.step_noise[6].add_(1);
  EXPECT_FALSE(same(drawn(noisy(8), options), one));
}

std::string usage_error_of(const SampleConfig& config, const GenerateOptions& options) {
  try {
    drawn(config, options);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Generate, RefusesNoiseOfAnotherShape) {
  GenerateOptions options = options_of({0, 1, 2}, 2);
  options.initial_noise = torch::zeros({2, 2, 3, 5});
  const std::string x_t = usage_error_of(noisy(8), options);
  EXPECT_NE(x_t.find("[2, 2, 3, 5]"), std::string::npos) << x_t;
  EXPECT_NE(x_t.find("[3, 2, 3, 5]"), std::string::npos) << x_t;
  options.initial_noise = torch::Tensor();
  options.step_noise = torch::zeros({7, 3, 2, 3, 5});
  EXPECT_NE(usage_error_of(noisy(8), options).find("[8, 3, 2, 3, 5]"), std::string::npos);
}

TEST(Generate, RefusesSettingsThatDoNotGoTogether) {
  SampleConfig config = noisy(41);
  const std::string steps = usage_error_of(config, options_of({0}, 1));
  EXPECT_NE(steps.find("steps = 41"), std::string::npos) << steps;
  config.steps = 5;
  config.eta = 0.5;
  const std::string eta = usage_error_of(config, options_of({0}, 1));
  EXPECT_NE(eta.find("eta = 0.5 needs method ddim"), std::string::npos) << eta;
}

TEST(Generate, ReportsEveryStepAndStopsWhenTold) {
  GenerateOptions options = options_of(image_range(0, 5), 2);
  int64_t reports = 0;
  options.progress = [&](const Progress& p) {
    EXPECT_EQ(p.step, reports % 8 + 1);
    EXPECT_EQ(p.steps, 8);
    EXPECT_EQ(p.images_done, reports / 8 * 2);
    EXPECT_EQ(p.images_total, 5);
    ++reports;
    return true;
  };
  drawn(noisy(8), options);
  EXPECT_EQ(reports, 3 * 8);

  options.progress = [](const Progress& p) { return p.images_done == 0 || p.step < 3; };
  int64_t images = 0, calls = 0;
  const auto counting = [&](const torch::Tensor& x, const torch::Tensor&) {
    ++calls;
    return torch::zeros_like(x);
  };
  const auto result =
      generate(counting, diffusion::Diffusion(kSchedule, Prediction::kEpsilon), noisy(8), options,
               [&](int64_t, const torch::Tensor& batch) { images += batch.size(0); });
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(result.images, 2);
  EXPECT_EQ(images, 2);
  EXPECT_EQ(calls, 8 + 3);
}

TEST(Generate, ObserverSeesTheWayFromNoiseToImage) {
  GenerateOptions options = options_of({0, 1, 2}, 2);
  std::vector<TrajectoryPoint> points;
  std::vector<int64_t> firsts;
  options.observer = [&](int64_t first, const TrajectoryPoint& point) {
    firsts.push_back(first);
    points.push_back(point);
  };
  options.initial_noise = torch::randn({3, 2, 3, 5});
  const torch::Tensor images = drawn(noisy(4), options);
  ASSERT_EQ(points.size(), 8u);
  EXPECT_EQ(firsts, (std::vector<int64_t>{0, 0, 0, 0, 2, 2, 2, 2}));
  EXPECT_TRUE(torch::equal(points[0].x_t, options.initial_noise.slice(0, 0, 2)));
  EXPECT_EQ(points[3].position, 3);
  EXPECT_EQ(points[3].step.s, 0);
  // The last step's x0_hat is the image.
  EXPECT_TRUE(same(points[3].x0_hat, images.slice(0, 0, 2)));
}

TEST(Generate, ClippedChainsEndInTheImageRange) {
  const auto wild = [](const torch::Tensor& x, const torch::Tensor&) { return -3 * x; };
  for (const Clip clip : {Clip::kNone, Clip::kClip, Clip::kRederive}) {
    SampleConfig config = noisy(10);
    config.clip = clip;
    double largest = 0;
    generate(wild, diffusion::Diffusion(kSchedule, Prediction::kEpsilon), config,
             options_of({0, 1}, 2),
             [&](int64_t, const torch::Tensor& x) { largest = x.abs().max().item<double>(); });
    EXPECT_EQ(largest <= 1.0, clip != Clip::kNone) << config::to_string(clip);
  }
}

/// Where generate() says that an image stopped being finite, -1 if nowhere.
NotFinite::Place place_of_failure(const diffusion::Denoiser& network,
                                  const GenerateOptions& options) {
  int64_t delivered = 0;
  try {
    generate(network, diffusion::Diffusion(kSchedule, Prediction::kEpsilon), noisy(8), options,
             [&](int64_t, const torch::Tensor& x) { delivered += x.size(0); });
  } catch (const NotFinite& error) {
    EXPECT_EQ(delivered % options.batch, 0) << "whole batches before it";
    return error.place();
  }
  return {-1, -1, -1, -1};
}

// Row 1 of the second batch, image 17, from the fifth of eight steps on.
TEST(Generate, NamesTheImageAndTheStepThatAreNotFinite) {
  GenerateOptions options = options_of({11, 12, 13, 17, 19}, 2);
  for (const double poison : {std::nan(""), double(INFINITY), -double(INFINITY)}) {
    int64_t calls = 0;
    const auto network = [&](const torch::Tensor& x, const torch::Tensor&) {
      torch::Tensor eps = 0.5 * x;
      if (calls++ == 8 + 4) eps[1][0][2][3] = poison;
      return eps;
    };
    const NotFinite::Place place = place_of_failure(network, options);
    EXPECT_EQ(place.image, 17) << poison;
    EXPECT_EQ(place.position, 4);
    EXPECT_EQ(place.steps, 8);
    EXPECT_EQ(place.t, 16);  // 1 + floor(i 40 / 8), i = 3
    EXPECT_EQ(std::string(NotFinite(place).what()),
              "image 17 is not finite after step 5 of 8 (t = 16)");
  }
}

TEST(Generate, NoiseThatIsNotFiniteIsFound) {
  const auto network = [](const torch::Tensor& x, const torch::Tensor&) { return 0.5 * x; };
  GenerateOptions options = options_of({0, 1, 2}, 2);
  EXPECT_EQ(place_of_failure(network, options).image, -1);
  options.step_noise = torch::zeros({8, 3, 2, 3, 5});
  options.step_noise[3][2] = std::nan("");
  EXPECT_EQ(place_of_failure(network, options).image, 2);
  EXPECT_EQ(place_of_failure(network, options).position, 3);
  options.step_noise = torch::Tensor();
  options.initial_noise = torch::zeros({3, 2, 3, 5});
  options.initial_noise[1][0][0][0] = INFINITY;
  EXPECT_EQ(place_of_failure(network, options).image, 1);
  EXPECT_EQ(place_of_failure(network, options).position, 0);
}

TEST(Generate, ALearnedVarianceThatIsNotFiniteIsFound) {
  const auto network = [](const torch::Tensor& x, const torch::Tensor&) {
    return torch::cat({0.5 * x, torch::full_like(x, std::nan(""))}, 1);
  };
  EXPECT_EQ(place_of_failure(network, options_of({4, 5}, 2)).image, 4);
}

TEST(Generate, BuildsNoAutogradGraph) {
  const torch::Tensor weight = torch::ones({1}).requires_grad_();
  const auto network = [&](const torch::Tensor& x, const torch::Tensor&) { return x * weight; };
  generate(network, diffusion::Diffusion(kSchedule, Prediction::kEpsilon), noisy(3),
           options_of({0}, 1),
           [](int64_t, const torch::Tensor& x) { EXPECT_FALSE(x.requires_grad()); });
}

TEST(GenerateGpu, DrawsTheSameImagesAsTheCpu) {
  if (!torch::cuda::is_available()) {
    GTEST_SKIP() << "no CUDA device";
  }
  GenerateOptions options = options_of(image_range(0, 5), 3);
  const torch::Tensor on_cpu = drawn(noisy(0), options);
  options.device = torch::kCUDA;
  const torch::Tensor on_gpu = drawn(noisy(0), options);
  EXPECT_TRUE(on_gpu.is_cuda());
  EXPECT_TRUE(torch::allclose(on_gpu.cpu(), on_cpu, 1e-4, 1e-4));
}

}  // namespace
}  // namespace ddpm::sample::generate_test
