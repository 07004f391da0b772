#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/train/experiment.h"

#include <cstdint>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::cli {

/// Says that the data has classes which the network does not use, and what to set; else "".
std::string class_hint(const train::Experiment& experiment, const data::Dataset& dataset);

/// What to change if training takes more than a day: lines to print; none if it does not.
/// `seconds` is predicted for the `steps` that are left.
std::vector<std::string> long_training_advice(const train::Experiment& experiment, int64_t steps,
                                              double seconds, const torch::Device& device);

}  // namespace ddpm::cli
