#pragma once

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace ddpm::io {

/// A PNG of 16 bits per channel (PNG specification, 11.2.2). pixels: int32 [H,W,C] of 0..65535,
/// contiguous, C = 1 to 4 (2: grey and alpha).
std::vector<uint8_t> encode_png_16_bit(const torch::Tensor& pixels);

}  // namespace ddpm::io
