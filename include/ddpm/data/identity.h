#pragma once

#include "ddpm/data/dataset.h"

#include <string>

namespace ddpm::cli {

/// What tells the data of one process from that of another that should read the same: description,
/// classes, and a checksum of some images and their labels, spread over all.
std::string data_identity(const data::Dataset& dataset);

}  // namespace ddpm::cli
