#pragma once

#include "sample_plan.h"

#include <filesystem>
#include <string>

namespace ddpm::cli {

/// Sets plan.settings, plan.source and plan.folder: what decides how image i looks, the files that
/// it came from, and where the images go if no --out says so. Different settings have different
/// folders.
void describe_settings(const SampleOptions& options, SamplePlan& plan);

/// The folder's images as the plan makes them.
sample::PictureSet picture_set(const SamplePlan& plan);

}  // namespace ddpm::cli
