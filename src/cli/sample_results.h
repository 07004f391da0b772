#pragma once

#include "beside_pictures.h"
#include "ddpm/pipeline/picture_note.h"
#include "ddpm/pipeline/sample_plan.h"
#include "ddpm/sample/generate.h"
#include "ddpm/sample/picture_folder.h"
#include "ddpm/sample/timestep_plan.h"
#include "ddpm/sample/trajectory.h"

#include <cstdint>
#include <optional>
#include <vector>

#include <torch/types.h>

namespace ddpm::cli {

/// What this call sampled, apart from the files.
struct Sampled {
  sample::GenerateResult result;
  int64_t kept = 0;                   ///< images that existed already
  std::vector<torch::Tensor> floats;  ///< for --save-tensors
};

/// What is collected on the way.
struct Observed {
  std::optional<sample::Trajectory> trajectory, animation;

  void observe(int64_t first, const sample::TrajectoryPoint& point) {
    if (trajectory) trajectory->observe(first, point);
    if (animation) animation->observe(first, point);
  }
};

/// What --trajectory and --animate need.
Observed to_observe(const pipeline::SampleOptions& options, const pipeline::SamplePlan& plan,
                    const std::vector<sample::PlanStep>& steps);

/// Writes what stands beside the folder: grid, trajectory, animation, tensors. Throws IoError.
void write_results(const pipeline::SampleOptions& options, const pipeline::SamplePlan& plan,
                   const sample::PictureFolder& folder, const Beside& beside,
                   const pipeline::PictureNotes& notes, const Observed& observed,
                   const Sampled& sampled);

/// The last lines of `ddpm sample`: the files, or one line of JSON.
void print_summary(const pipeline::SampleOptions& options, const pipeline::SamplePlan& plan,
                   const sample::PictureFolder& folder, const Beside& beside,
                   const Sampled& sampled);

}  // namespace ddpm::cli
