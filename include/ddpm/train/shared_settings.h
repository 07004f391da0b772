#pragma once

#include "ddpm/config/document.h"
#include "ddpm/dist/world.h"

namespace ddpm::train {

/// The settings that must be the same on all ranks of a run, for example "train.batch_size": "128".
/// Settings of a machine (threads, workers, devices) may differ.
dist::Facts shared_settings(const config::Document& document);

}  // namespace ddpm::train
