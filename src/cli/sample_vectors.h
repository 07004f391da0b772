#pragma once

#include "ddpm/nn/unet.h"

#include <cstdint>
#include <string>

#include <nlohmann/json_fwd.hpp>
#include <torch/types.h>

namespace ddpm::cli {

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

}  // namespace ddpm::cli
