#pragma once

#include "ddpm/nn/init.h"
#include "ddpm/nn/unet.h"

#include <torch/types.h>

namespace ddpm::nn {

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
