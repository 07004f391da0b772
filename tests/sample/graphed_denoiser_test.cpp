#include "src/sample/graphed_denoiser.h"

#include "ddpm/diffusion/guidance.h"
#include "ddpm/sample/generate.h"
#include "ddpm/sample/methods.h"
#include "ddpm/sample/reverse_process.h"
#include "tests/base/tape_recorder.h"

#include <gtest/gtest.h>
#include <torch/cuda.h>
#include <torch/types.h>

namespace ddpm::sample::graphed_denoiser_test {
namespace {

using diffusion::Prediction;

const diffusion::Schedule kSchedule{diffusion::ScheduleConfig{.timesteps = 40, .beta_end = 0.3}};

// A network of one convolution, which sees t and, where given, a number of each image's own.
diffusion::Denoiser small_network(const torch::Device& device, torch::Tensor own = {}) {
  const torch::Tensor weight = (0.1 * torch::arange(36, torch::kFloat).sin()).view({2, 2, 3, 3});
  return [weight = weight.to(device), own](const torch::Tensor& x, const torch::Tensor& t) {
    torch::Tensor y = torch::conv2d(x, weight, {}, 1, 1) + 0.01 * t.view({-1, 1, 1, 1});
    if (own.defined()) y = y + own.narrow(0, 0, x.size(0)).view({-1, 1, 1, 1});
    return torch::tanh(y);
  };
}

SampleConfig config_of(const char* method, int64_t steps) {
  SampleConfig config;
  config.method = method;
  config.steps = steps;
  return config;
}

NoiseSource noise_like(const torch::Tensor& x) {
  return [x](int64_t k, int64_t) { return torch::cos(x * static_cast<double>(k + 1)); };
}

TEST(GraphedDenoiser, DrawsTheSameBitsAsTheDenoiser) {
  const torch::Tensor x_T = torch::linspace(-2, 2, 3 * 2 * 4 * 4).view({3, 2, 4, 4});
  for (const char* method : {kDdpm, kDdim}) {
    for (const Prediction prediction : {Prediction::kEpsilon, Prediction::kX0}) {
      const ReverseProcess process(diffusion::Diffusion(kSchedule, prediction),
                                   config_of(method, 10));
      const diffusion::Denoiser plain = small_network(torch::kCPU);
      Tape tape;
      GraphedDenoiser graphed(plain, DeviceGraph("test", std::make_unique<TapeRecorder>(tape)));
      std::vector<torch::Tensor> first;  // kept, and not overwritten by what comes later
      for (const torch::Tensor& x : {x_T, x_T + 0.5, x_T.slice(0, 0, 2)}) {
        const auto expected = process.run(plain, x, noise_like(x));
        const auto actual = process.run(std::ref(graphed), x, noise_like(x));
        EXPECT_TRUE(actual->equal(*expected));
        first.push_back(*expected), first.push_back(*actual);
      }
      EXPECT_TRUE(first[0].equal(first[1]));
      EXPECT_EQ(tape.recorded, 1) << "for both whole batches";
      EXPECT_EQ(tape.replayed, 20 - DeviceGraph::kRunsBefore) << "the smaller batch is not";
    }
  }
}

TEST(GraphedDenoiser, HasTheSameOperationsAndNumbersAtEveryStep) {
  const torch::Tensor x_T = torch::ones({2, 2, 4, 4});
  Tape tape;
  GraphedDenoiser graphed(small_network(torch::kCPU),
                          DeviceGraph("test", std::make_unique<TapeRecorder>(tape)));
  ReverseProcess(diffusion::Diffusion(kSchedule, Prediction::kEpsilon), config_of(kDdim, 8))
      .run(std::ref(graphed), x_T, noise_like(x_T));
  ASSERT_EQ(tape.operations.size(), 5u);
  EXPECT_FALSE(tape.operations[0].empty());
  for (const auto& operations : tape.operations) EXPECT_EQ(operations, tape.operations[0]);
}

TEST(Generate, SetsWhatDiffersBetweenImagesBeforeEachBatch) {
  GenerateOptions options;
  options.images = {4, 7, 1, 2, 9};
  options.channels = 2, options.height = options.width = 4;
  const auto drawn = [&](int64_t batch) {
    options.batch = batch;
    const torch::Tensor own = torch::zeros({batch});
    options.before_batch = [&](const std::vector<int64_t>& images) {
      for (size_t i = 0; i < images.size(); ++i)
        own[static_cast<int64_t>(i)] = 0.3 * static_cast<double>(images[i]);
    };
    std::vector<torch::Tensor> batches;
    generate(small_network(torch::kCPU, own), diffusion::Diffusion(kSchedule, Prediction::kEpsilon),
             config_of(kDdpm, 6), options,
             [&](int64_t, const torch::Tensor& x) { batches.push_back(x); });
    return torch::cat(batches);
  };
  // float32 rounding over a few steps: vectorised loops round their tails in another way.
  EXPECT_TRUE(torch::allclose(drawn(2), drawn(5), 1e-5, 1e-5));
  EXPECT_TRUE(torch::allclose(drawn(1), drawn(5), 1e-5, 1e-5));
}

TEST(GraphedDenoiserGpu, DrawsTheSameImagesAsTheDenoiser) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA GPU here";
  const torch::Device device(torch::kCUDA, 0);
  const ReverseProcess process(diffusion::Diffusion(kSchedule, Prediction::kEpsilon),
                               config_of(kDdpm, 20));
  const diffusion::Denoiser plain = small_network(device);
  GraphedDenoiser graphed(plain, DeviceGraph("test", device));
  for (const double shift : {0.0, 0.5}) {
    const torch::Tensor x_T = torch::linspace(-2, 2, 96, device).view({3, 2, 4, 4}) + shift;
    const auto expected = process.run(plain, x_T, noise_like(x_T));
    const auto actual = process.run(std::ref(graphed), x_T, noise_like(x_T));
    EXPECT_TRUE(graphed.recorded());
    EXPECT_TRUE(torch::allclose(*actual, *expected, 1e-5, 1e-5));
  }
}

// Draws two batches, the second by replays if the graph can record. The solvers, the guidance and
// the thresholds are outside of the network, or within its graph: neither may change an image.
void expect_same_images(const torch::Device& device, const SampleConfig& config,
                        const diffusion::Guidance& guidance) {
  SCOPED_TRACE(describe(config) + describe_guidance(guidance));
  const diffusion::Diffusion diffusion(kSchedule, Prediction::kV);
  const ReverseProcess process(diffusion, config);
  const auto both = diffusion::sources_of(small_network(device),
                                          small_network(device, torch::linspace(-1, 1, 3, device)));
  diffusion::GuidedDenoiser plain(guidance, diffusion, both), recorded(guidance, diffusion, both);
  GraphedDenoiser graphed(std::ref(recorded), DeviceGraph("test", device));
  for (const double shift : {0.0, 0.5}) {
    const torch::Tensor x_T = torch::linspace(-2, 2, 96, device).view({3, 2, 4, 4}) + shift;
    plain.reset_(), recorded.reset_();
    const auto expected = process.run(std::ref(plain), x_T, noise_like(x_T));
    const auto actual = process.run(std::ref(graphed), x_T, noise_like(x_T));
    EXPECT_TRUE(torch::allclose(*actual, *expected, 1e-5, 1e-5))
        << (*actual - *expected).abs().max().item<double>();
  }
  EXPECT_EQ(graphed.recorded(), device.is_cuda());
}

std::vector<diffusion::Guidance> all_guidance() {
  std::vector<diffusion::Guidance> all(6);
  for (auto& guidance : all) guidance.weight = 2.5;
  all[0].weight = 0.0;
  all[1].rescale = 0.7;
  all[2].interval = {0.2, 3.0};
  all[3].interval = {0.2, 3.0}, all[3].rescale = 0.5;
  all[4].parallel = 0.0, all[4].norm = 2.0;
  all[5].parallel = 0.2, all[5].momentum = -0.5, all[5].interval = {0.2, 3.0};
  return all;
}

class GraphedGuidanceGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA GPU here";
  }
  const torch::Device device_{torch::kCUDA, 0};
};

TEST_F(GraphedGuidanceGpu, EveryMethodDrawsTheSameImages) {
  for (const std::string& method : method_names()) {
    for (const double threshold : {0.0, 0.9}) {
      SampleConfig config = config_of(method.c_str(), 20);
      config.dynamic_threshold = threshold;
      expect_same_images(device_, config, {});
      expect_same_images(device_, config, all_guidance()[1]);
    }
  }
}

TEST_F(GraphedGuidanceGpu, EveryGuidanceDrawsTheSameImages) {
  for (const diffusion::Guidance& guidance : all_guidance()) {
    expect_same_images(device_, config_of(kDdpm, 20), guidance);
    expect_same_images(device_, config_of("unipc", 20), guidance);
  }
}

}  // namespace
}  // namespace ddpm::sample::graphed_denoiser_test
