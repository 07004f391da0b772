#pragma once

#include "ddpm/nn/precision.h"

#include <string>

#include <torch/types.h>

namespace ddpm::train {

/// The dense peak rate of a GPU's tensor cores in bfloat16, summing in float32, in FLOP/s (NVIDIA's
/// data sheets). `name`: as the driver gives it, "NVIDIA H100 80GB HBM3". 0 if it is not known.
double peak_bf16_flops(const std::string& name);

/// The same of the device, for a network in this precision; 0 unless it is a known GPU and bf16.
double peak_flops(const torch::Device& device, nn::Precision precision);

}  // namespace ddpm::train
