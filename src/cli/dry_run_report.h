#pragma once

#include "ddpm/data/subset.h"
#include "ddpm/train/experiment.h"
#include "ddpm/train/resume.h"

#include <filesystem>

namespace ddpm::cli {

/// Prints everything that training would find out in its first minute, and what it would cost.
/// Makes the same checks as training, from the run's lock to the last held-out image, and begins
/// with the same weights. Trains and writes nothing. Returns an exit status; throws what training
/// would throw.
int print_dry_run(const train::Experiment& experiment, const config::Document& document,
                  data::Split data, const torch::Device& device, const std::filesystem::path& run,
                  const train::ResumePolicy& policy);

}  // namespace ddpm::cli
