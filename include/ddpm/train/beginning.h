#pragma once

#include "ddpm/config/document.h"
#include "ddpm/data/subset.h"
#include "ddpm/train/dry_run.h"
#include "ddpm/train/experiment.h"
#include "ddpm/train/resume.h"

#include <filesystem>

namespace ddpm::train {

/// The state from which a run would begin.
struct Beginning {
  std::filesystem::path checkpoint;  ///< empty: step 0
  Resumption resumption;             ///< of the checkpoint, if there is one
  Preparation prepare;               ///< sets a learner's weights, averages and optimizer
};

/// Makes the checks of Trainer's constructor, and changes nothing on disk. Numbers the classes of
/// `data` as the checkpoint does. All arguments must outlive the result. Throws what training would
/// throw.
Beginning beginning_of(const Experiment& experiment, const config::Document& document,
                       data::Split& data, const std::filesystem::path& run,
                       const ResumePolicy& policy);

}  // namespace ddpm::train
