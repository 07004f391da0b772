#pragma once

#include "sample_plan.h"

#include <cstdint>
#include <string>

#include <torch/types.h>

namespace ddpm::cli {

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

}  // namespace ddpm::cli
