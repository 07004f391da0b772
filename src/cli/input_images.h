#pragma once

#include "ddpm/nn/unet.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::cli {

/// An encoded image for a network: uint8 [C,H,W]. Throws IoError(name, ...) if it cannot be read,
/// has another size, or has colours and `spec` is grey. Its size is compared before its pixels are
/// decoded. `wanted`: whose size that is, for the message.
torch::Tensor decode_input(std::span<const uint8_t> bytes, const std::string& name,
                           const nn::ImageSpec& spec,
                           const std::string& wanted = "the network's images");

/// The files' images: uint8 [N,C,H,W]. Throws IoError as above.
torch::Tensor read_inputs(const std::vector<std::string>& files, const nn::ImageSpec& spec,
                          const std::string& wanted = "the network's images");

/// An encoded mask for such images: bool [1,1,H,W], true where it is light (128 or more). Throws
/// IoError as above, and if it is dark or light everywhere.
torch::Tensor decode_mask(std::span<const uint8_t> bytes, const std::string& name,
                          const nn::ImageSpec& spec);
/// The same of a file.
torch::Tensor read_mask(const std::string& file, const nn::ImageSpec& spec);

/// The checksum of images or a mask.
uint32_t checksum_of(const torch::Tensor& pixels);

}  // namespace ddpm::cli
