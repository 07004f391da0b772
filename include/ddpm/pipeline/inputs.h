#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/nn/unet.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>
#include <torch/types.h>

namespace ddpm::pipeline {

/// The vectors that samples have, in turn: image i has row i mod M.
struct SampleVectors {
  torch::Tensor rows;   ///< float32 [M,D]; undefined for a network that reads none
  std::string source;   ///< for people
  bool chosen = false;  ///< by --vector or --vectors
  uint32_t crc32c = 0;  ///< of the rows

  /// Of image i, by the names of the columns.
  nlohmann::ordered_json of(int64_t image, const nn::VectorSpec& spec) const;
};

/// Those of --vector `text`, "smiling=1,age=0.3" (other columns have their mean) or all D numbers
/// in order; of the file --vectors, with the network's columns by name, or of an array, in order; or
/// without either those that the network keeps. Throws UsageError or IoError, which names the
/// column.
SampleVectors sample_vectors(const std::string& text, const std::string& file,
                             const nn::UNetConfig& network);

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

/// "a grey picture of 32x32 pixels", "a picture of 8x8 pixels, 4 times smaller than the images": one
/// condition of the network.
std::string describe_condition(const nn::UNetConfig& network);

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

}  // namespace ddpm::pipeline
