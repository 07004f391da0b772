#pragma once

#include "ddpm/data/subset.h"
#include "ddpm/train/experiment.h"

#include <filesystem>

namespace ddpm::cli {

/// Prints everything that training would find out in its first minute, and what it would cost.
/// Trains and writes nothing. Returns an exit status; throws what training would throw.
int print_dry_run(const train::Experiment& experiment, const data::Split& data,
                  const torch::Device& device, const std::filesystem::path& run);

}  // namespace ddpm::cli
