#pragma once

#include "ddpm/nn/unet.h"

#include <cstdint>

#include <torch/types.h>

namespace ddpm::nn {

/// The smallest network with all parts, for grey images of 8x8.
inline UNetConfig small_config(int64_t classes = 0) {
  UNetConfig config;
  config.image = {1, 8, 8, classes};
  config.channels = 8;
  config.channel_multipliers = {1, 2};
  config.blocks = 1;
  config.attention_resolutions = {4};
  config.groups = 4;
  return config;
}

/// A network all of whose weights matter: the zeroed last layers would make most outputs and gradients
/// vanish.
inline UNet moved_unet(const UNetConfig& config, torch::Dtype dtype = torch::kDouble) {
  UNet unet(config);
  initialize_(*unet, 3);
  const torch::NoGradGuard no_grad;
  for (auto& p : unet->parameters())
    p += 0.05 * torch::arange(p.numel(), p.options()).sin().view_as(p);
  unet->to(dtype);
  return unet;
}

}  // namespace ddpm::nn
