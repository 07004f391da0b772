#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/nn/unet.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::cli {

/// Size and channels of a network's conditions.
nn::ImageSpec condition_spec(const nn::UNetConfig& network);

/// The pictures that samples are conditioned on (diffusion::condition_picture), used in turn.
struct ConditionPictures {
  /// Those of these images: uint8 [images,c,h,w] on the CPU. Empty for a network without a condition.
  std::function<torch::Tensor(const std::vector<int64_t>& images)> of;
  std::string source;   ///< for people: the path, or the data
  uint32_t crc32c = 0;  ///< of all pictures; 0 if they are those of a data set
};

/// The pictures at `path`, a file or a folder of them. Throws IoError if one cannot be read or has
/// another size or other channels than the network's conditions; the message says the size wanted.
ConditionPictures condition_pictures(const std::string& path, const nn::UNetConfig& network);

/// The same of given pictures, uint8 [n,c,h,w] of condition_spec's size. `source`: for people.
ConditionPictures condition_pictures(const torch::Tensor& pictures, const std::string& source);

/// Those of the images `indices` of a data set, which has the shape of the network's images.
ConditionPictures condition_pictures(std::shared_ptr<const data::Dataset> dataset,
                                     std::vector<int64_t> indices, const nn::UNetConfig& network,
                                     const std::string& source);

/// uint8 [images,C,H,W]: of image i, image indices[i mod size] of the data set.
torch::Tensor originals_in_turn(const data::Dataset& dataset, const std::vector<int64_t>& indices,
                                const std::vector<int64_t>& images);

/// "an 8x8 picture with 3 channels", "a grey 32x32 picture": one condition of the network.
std::string describe_condition(const nn::UNetConfig& network);

}  // namespace ddpm::cli
