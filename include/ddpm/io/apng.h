#pragma once

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace ddpm::io {

/// An animated PNG (PNG specification, third edition, sections 11.3.6 and 13) that repeats for ever.
/// frames: uint8 [N,C,H,W], N >= 1, C = 1 to 4 (2: grey and alpha). seconds: how long each is shown,
/// N numbers from 0 to 65; kept to a millisecond. still: uint8 [C,H,W], the image that programs
/// without animation show, not a frame itself; if undefined, they show the first frame.
std::vector<uint8_t> encode_apng(const torch::Tensor& frames, const std::vector<double>& seconds,
                                 const torch::Tensor& still = {});

}  // namespace ddpm::io
