#include "ddpm/bench/profile.h"
#include "ddpm/nn/unet.h"

#include <vector>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::bench {
namespace {

// Counted from the shapes of the operations that really run.
double counted(const nn::UNetConfig& config) {
  const torch::NoGradGuard no_grad;
  nn::UNet unet(config);
  unet->eval();
  const torch::Tensor t = torch::ones({1}, torch::kLong);
  const OpRecorder recorder;
  unet->forward(torch::zeros({1, config.image.channels, config.image.height, config.image.width}),
                t, config.class_conditional ? t : torch::Tensor(), {});
  return recorder.flops();
}

TEST(ForwardFlops, AreThoseOfTheOperations) {
  nn::UNetConfig config;
  config.image = {3, 16, 24};
  config.channels = 32;
  config.channel_multipliers = {1, 2, 2};
  config.blocks = 2;
  config.attention_resolutions = {8};
  config.groups = 8;
  std::vector<nn::UNetConfig> configs(4, config);
  configs[1].class_conditional = true;
  configs[1].image.classes = 3;
  configs[1].learned_variance = true;
  configs[2].residual_resample = true;
  configs[2].time_scale_shift = true;
  configs[3].channel_multipliers = {1};
  configs[3].attention_resolutions = {};
  for (const nn::UNetConfig& c : configs)
    EXPECT_DOUBLE_EQ(nn::forward_flops(*nn::UNet(c)), counted(c));
}

}  // namespace
}  // namespace ddpm::bench
