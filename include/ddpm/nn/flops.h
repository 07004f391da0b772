#pragma once

#include "ddpm/nn/unet.h"

namespace ddpm::nn {

/// Floating-point operations of a forward pass for one image: convolutions, matrix products and
/// attention, two per multiply-add. A training step costs three times as many.
double forward_flops(const UNetImpl& unet);

}  // namespace ddpm::nn
