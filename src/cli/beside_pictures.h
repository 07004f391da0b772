#pragma once

#include "ddpm/sample/picture_folder.h"
#include "sample_plan.h"

#include <filesystem>

namespace ddpm::cli {

/// The pictures next to a folder of samples.
struct Beside {
  std::filesystem::path grid, trajectory, animation;  ///< none with --only
};

/// Throws UsageError if the grid would be read as a sample, IoError if it cannot be written.
Beside beside_of(const SampleOptions& options, const sample::PictureFolder& folder);

}  // namespace ddpm::cli
