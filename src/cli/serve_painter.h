#pragma once

#include "ddpm/serve/painter.h"
#include "sample_plan.h"

#include <filesystem>
#include <memory>

namespace ddpm::cli {

/// A painter that samples as `ddpm sample` does with the same settings: the same pixels, and
/// pictures that hold the same note. `options`: checkpoint, weights, precision, device. `run`: a run, whose
/// newest checkpoint is taken for each request, or "". Throws UsageError or IoError.
std::unique_ptr<serve::Painter> make_painter(const SampleOptions& options,
                                             const std::filesystem::path& run);

}  // namespace ddpm::cli
