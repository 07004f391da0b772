#pragma once

#include "sample_plan.h"

#include <filesystem>
#include <string>

namespace ddpm::cli {

/// Sets plan.settings, plan.source and plan.folder: everything that decides how image i looks, the
/// files that were read, and the folder of the images (--out, else a different one for different
/// settings).
void describe_settings(const SampleOptions& options, SamplePlan& plan);

/// The plan's images, as the folder records them.
sample::PictureSet picture_set(const SamplePlan& plan);

}  // namespace ddpm::cli
