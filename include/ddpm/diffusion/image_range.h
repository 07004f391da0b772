#pragma once

#include <torch/types.h>

namespace ddpm::diffusion {

/// Levels of a pixel (0..255) per unit of the model's range [-1,1].
inline constexpr double kLevelsPerUnit = 127.5;

/// The variance of a pixel that is uniform within its level, in the model's range.
inline constexpr double kLevelVariance = (1.0 / kLevelsPerUnit) * (1.0 / kLevelsPerUnit) / 12.0;

/// A pixel's level in the model's range: u / 127.5 - 1 (Ho 2020, Sec. 3.3).
constexpr double to_model_range(double level) { return level / kLevelsPerUnit - 1.0; }

/// The same of pixels of any shape, uint8 or float32 levels, on their device, in the float type
/// `dtype`. `format`: the order of the result in memory.
torch::Tensor to_model_range(const torch::Tensor& pixels, torch::Dtype dtype,
                             torch::MemoryFormat format = torch::MemoryFormat::Preserve);

/// Model range to pixels: x in [-1,1], any float type and shape -> uint8, 127.5 (x + 1) rounded to
/// nearest and clamped. NaN becomes 0.
torch::Tensor to_uint8(const torch::Tensor& x);

/// The same with 16 bits: int32, 32767.5 (x + 1) rounded to nearest and clamped to 0..65535.
torch::Tensor to_16_bit(const torch::Tensor& x);

}  // namespace ddpm::diffusion
