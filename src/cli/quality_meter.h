#pragma once

#include "ddpm/train/trainer.h"
#include "processes.h"

namespace ddpm::cli {

/// Measures checkpoints during training as `ddpm eval --ddim --steps train.sample_steps --num
/// train.eval_num` measures them: the same images, and the same numbers. The feature network and the
/// reference, the training images, are opened at the first measurement. `processes` must outlive it.
train::MeasureQuality quality_meter(const train::Experiment& experiment,
                                    const Processes& processes);

}  // namespace ddpm::cli
