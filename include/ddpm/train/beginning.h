#pragma once

#include "ddpm/config/document.h"
#include "ddpm/data/subset.h"
#include "ddpm/train/dry_run.h"
#include "ddpm/train/experiment.h"
#include "ddpm/train/resume.h"

#include <filesystem>

namespace ddpm::train {

/// The state that a run begins with.
struct Beginning {
  std::filesystem::path checkpoint;  ///< empty: step 0
  Resumption resumption;             ///< from the checkpoint, if there is one
  Preparation prepare;               ///< sets a learner's weights, EMA weights and optimizer
};

/// Does the checks of Trainer's constructor and changes nothing on disk. Numbers the classes of
/// `data` as in the checkpoint. All arguments must outlive the result. Throws the errors of
/// training.
Beginning beginning_of(const Experiment& experiment, const config::Document& document,
                       data::Split& data, const std::filesystem::path& run,
                       const ResumePolicy& policy);

}  // namespace ddpm::train
