#pragma once

#include "ddpm/data/dataset.h"

#include <string>

namespace ddpm::data {

/// Identifies the data, to check that all processes of a run read the same: description, classes,
/// and a checksum of some images and their labels, spread over all.
std::string identity_of(const Dataset& dataset);

}  // namespace ddpm::data
