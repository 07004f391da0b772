#pragma once

#include "ddpm/train/dry_run.h"
#include "ddpm/train/suggest.h"

#include <cstdint>

namespace ddpm::train {

/// The largest usual image size for which the time of the facts allows enough steps, at most that of
/// the suggestion; that one itself if the user asked for it. `measured`: a dry run of the suggestion.
/// A step's cost is taken as proportional to the pixels.
int64_t affordable_size(const Suggestion& suggestion, const Facts& facts,
                        const DryRunReport& measured);

/// Sets the length: train.steps for the minutes of the facts, and what depends on it: warm-up, EMA,
/// and the steps between log lines, checkpoints, sample grids and held-out losses. `measured`: a dry
/// run of the suggestion. Adds the reasons, and a warning if the steps are few.
void fit_to_time_(Suggestion& suggestion, const Facts& facts, const DryRunReport& measured);

/// The predicted seconds of the training, including sample grids and held-out losses.
double suggested_seconds(const Suggestion& suggestion, const Facts& facts,
                         const DryRunReport& measured);

}  // namespace ddpm::train
