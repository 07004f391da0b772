#pragma once

#include "ddpm/pipeline/sample_plan.h"
#include "ddpm/sample/picture_folder.h"

#include <filesystem>

namespace ddpm::cli {

/// The pictures next to a folder of samples.
struct Beside {
  std::filesystem::path grid, trajectory, animation;  ///< none with --only
};

/// Throws UsageError if the grid would be read as a sample, IoError if it cannot be written.
Beside beside_of(const pipeline::SampleOptions& options, const sample::PictureFolder& folder);

}  // namespace ddpm::cli
