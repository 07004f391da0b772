#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/train/experiment.h"

#include <cstdint>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::train {

/// What to set if the data has classes that the network does not use; else "".
std::string class_hint(const Experiment& experiment, const data::Dataset& dataset);

/// What to change if training takes more than a day, one line per item; empty if it takes less.
/// `seconds`: predicted for the remaining `steps`.
std::vector<std::string> long_training_advice(const Experiment& experiment, int64_t steps,
                                              double seconds, const torch::Device& device);

}  // namespace ddpm::train
