#pragma once

#include "ddpm/dist/world.h"
#include "ddpm/train/experiment.h"

#include <filesystem>

namespace ddpm::train {

/// Lets the run end well from where it is (`ddpm train --finish`): sets train.steps to the step of
/// its newest checkpoint plus optimizer.decay_steps, over which optimizer.decay = "stable" falls to
/// 0. The number is kept in RUN/finish.json, so that the same command resumes towards the same end.
/// Also sets the two keys of `document`. Collective. Throws UsageError if the decay is another one,
/// or the run has no checkpoint; IoError if finish.json is damaged.
void finish_from_here_(Experiment& experiment, config::Document& document,
                       const std::filesystem::path& run, const dist::World& world);

/// Throws UsageError if the run has been told to finish: it would return to the full rate.
void expect_not_finishing(const std::filesystem::path& run);

}  // namespace ddpm::train
