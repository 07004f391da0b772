#pragma once

#include "ddpm/data/dataset.h"

#include <string>

namespace ddpm::eval {

/// SHA-256 of every decoded image and label, in order: identifies a data set. Throws IoError if one
/// cannot be read.
std::string digest_of_images(const data::Dataset& dataset);

}  // namespace ddpm::eval
