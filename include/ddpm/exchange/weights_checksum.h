#pragma once

#include "ddpm/exchange/model.h"

#include <cstdint>

namespace ddpm::exchange {

/// CRC32C of the selected weights: of their file if the model is a checkpoint of this program, else
/// of the tensors' bytes. Of rebuilt weights: checkpoint::checksum. Throws IoError.
uint32_t weights_checksum(const Model& model);

}  // namespace ddpm::exchange
