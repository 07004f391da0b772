#pragma once

#include "ddpm/pipeline/sample_plan.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::pipeline {

/// What `ddpm inpaint` fills in.
struct InpaintInputs {
  torch::Tensor images;  ///< uint8 [n,C,H,W], used in turn
  torch::Tensor mask;    ///< bool [1,1,H,W], true where pixels are to be filled in
  std::string names;     ///< of both, for people
};

/// Makes a plan of sampling one of inpainting (sample::InpaintSampler). Does no work on the plan's
/// device. Throws UsageError if the method remembers former steps and there are several rounds.
void inpaint_(SamplePlan& plan, const SampleOptions& options, const InpaintInputs& inputs,
              int64_t rounds);

/// Where a way of `ddpm interpolate` begins or ends: the noise of an image.
struct NoiseEnd {
  std::optional<int64_t> seed;  ///< none: that of the plan, or a row of its noise file
  int64_t image = 0;
};

/// The ends that --between names: "3", or "5:3" for image 3 of seed 5. Throws UsageError, also if
/// there are fewer than two.
std::vector<NoiseEnd> noise_ends(const std::vector<std::string>& words);

/// The images of such a way: `frames` from one end to the next, both included.
int64_t images_of_way(size_t ends, int64_t frames);

/// Makes a plan of sampling one of images on the way between the noises, except for the noise itself.
/// Does no work on the plan's device. Throws UsageError.
void interpolate_(SamplePlan& plan, const SampleOptions& options, const std::vector<NoiseEnd>& ends,
                  int64_t frames);

/// That noise, x_T of each image of the way: [images_of_way,C,H,W] on the plan's device. The ends are
/// rows of the plan's noise file if it has one. Throws UsageError.
torch::Tensor noise_of_way(const SamplePlan& plan, const std::vector<NoiseEnd>& ends,
                           int64_t frames);

}  // namespace ddpm::pipeline
