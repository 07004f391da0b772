#pragma once

#include "ddpm/data/view.h"
#include "ddpm/train/dry_run.h"
#include "ddpm/train/experiment.h"
#include "ddpm/train/resume.h"

#include <filesystem>

namespace ddpm::cli {

/// Checks everything that training checks, from the run's lock to the last held-out image. Starts
/// from the same weights, measures a few steps, and prints what training would cost. Writes
/// nothing. Of a cluster, measures the share of one process, and adds the messages on paper. Returns
/// an exit status; throws what training would throw.
int print_dry_run(const train::Experiment& experiment, const config::Document& document,
                  data::Split data, const torch::Device& device, const std::filesystem::path& run,
                  const train::ResumePolicy& policy, const train::Cluster& cluster = {});

}  // namespace ddpm::cli
