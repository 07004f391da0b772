#pragma once

#include "ddpm/nn/unet.h"

namespace ddpm::nn {

/// Ho's initialisation: convolutions and linear layers uniform with variance 1 / mean(fan_in,
/// fan_out)
/// ("variance scaling, fan_avg"), the last layer of each residual branch and of the network 1e-10
/// of that, so that every branch starts as (almost) zero; biases 0; GroupNorm 1 and 0; class
/// vectors N(0, 1). A function of (seed, parameter's position) alone: the same weights on every
/// device.
void initialize_(UNetImpl& unet, uint64_t seed);

}  // namespace ddpm::nn
