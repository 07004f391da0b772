#pragma once

#include "ddpm/nn/unet.h"

#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::cli {

/// Images for a network: uint8 [N,C,H,W]. Throws IoError(file, ...) if one cannot be read, has another
/// size, or has colours and `spec` is grey. `wanted`: whose size that is, for the message.
torch::Tensor read_inputs(const std::vector<std::string>& files, const nn::ImageSpec& spec,
                          const std::string& wanted = "the network's images");

/// A mask for such images: bool [1,1,H,W], true where it is light (128 or more). Throws IoError as
/// above, and if it is dark or light everywhere.
torch::Tensor read_mask(const std::string& file, const nn::ImageSpec& spec);

/// The checksum of images or a mask.
uint32_t checksum_of(const torch::Tensor& pixels);

}  // namespace ddpm::cli
