#pragma once

#include "ddpm/pipeline/sample_plan.h"
#include "ddpm/serve/painter.h"

#include <filesystem>
#include <memory>

namespace ddpm::serve {

/// A painter that samples as `ddpm sample` does with the same settings: the same pixels, and
/// pictures that hold the same note. `options`: checkpoint, weights, precision, device. `run`: a run, whose
/// newest checkpoint is taken for each request, or "". Throws UsageError or IoError.
std::unique_ptr<Painter> make_painter(const pipeline::SampleOptions& options,
                                      const std::filesystem::path& run);

}  // namespace ddpm::serve
