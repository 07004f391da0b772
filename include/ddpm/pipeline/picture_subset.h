#pragma once

#include "ddpm/pipeline/picture_note.h"
#include "ddpm/pipeline/sample_plan.h"
#include "ddpm/sample/picture_folder.h"

#include <cstdint>
#include <vector>

#include <torch/types.h>

// Which images of a plan are sampled and written: all, the missing ones (--continue), or some
// (--only).

namespace ddpm::pipeline {

/// The images of --only, in order; empty without it. Throws UsageError.
std::vector<int64_t> only_images(const SampleOptions& options, const SamplePlan& plan);

/// Leaves the batches that hold the images of --only, as they would be without it: an image's sums
/// may round in another way in a batch of another size. Throws UsageError.
void leave_batches_of_only_(const SampleOptions& options, SamplePlan& plan);

/// Leaves the images that the folder lacks; returns how many exist.
int64_t keep_existing(const sample::PictureFolder& folder, sample::GenerateOptions& generate);

/// Writes a batch, or the images of it that --only names. pixels: as PictureWriter::write takes
/// them.
void write_batch(sample::PictureWriter& writer, const PictureNotes& notes,
                 const std::vector<int64_t>& batch, const std::vector<int64_t>& only,
                 const torch::Tensor& pixels);

}  // namespace ddpm::pipeline
