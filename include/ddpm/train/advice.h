#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/train/experiment.h"

#include <cstdint>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::train {

/// Advice if the data has classes that the network does not use; "" otherwise.
std::string class_hint(const Experiment& experiment, const data::Dataset& dataset);

/// Ways to shorten a training of more than a day, one per line; empty if it is shorter.
/// `seconds`: predicted time of the remaining `steps`.
std::vector<std::string> long_training_advice(const Experiment& experiment, int64_t steps,
                                              double seconds, const torch::Device& device);

/// The advice to use fewer threads if other programs use so many of the `cores` that not all
/// `threads` have one: those that have then wait for the others. "" if they have, or with one thread.
std::string thread_advice(int64_t threads, int64_t cores, double used_by_others);

}  // namespace ddpm::train
